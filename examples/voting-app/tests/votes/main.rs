//! The application as its users meet it: real processes, real Redis and Postgres, on loopback addresses of their own.

mod images;
mod loss;
mod pages;
mod stack;
