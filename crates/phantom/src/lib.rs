//! Synthetic abdominal CT with a tortuous pancreas and its neighbours, decided by a seed
