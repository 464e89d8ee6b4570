//! Built-in nodes for sound.
