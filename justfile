# The short menu; `./dev` does the work and installs what is missing.

check:
    ./dev check

test *arguments:
    ./dev test {{arguments}}

# Simulates clusters: `just sim --seeds 0..`, `just sim --seed N`.
sim *arguments:
    cargo run -p swarm-sim -- {{arguments}}

demo:
    ./dev demo

bench *arguments:
    ./dev bench {{arguments}}

fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty
