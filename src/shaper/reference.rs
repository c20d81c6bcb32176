//! The definition, written plainly in f64, that the fast passes are held against.
