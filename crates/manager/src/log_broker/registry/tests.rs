//! Tables of selections and outcomes.
