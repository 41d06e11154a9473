# The short menu; `./dev` does the work and installs what is missing.

check:
    ./dev check

test *arguments:
    ./dev test {{arguments}}

demo:
    ./dev demo

bench *arguments:
    ./dev bench {{arguments}}

fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty
