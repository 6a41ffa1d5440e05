//! The tensors that a network has: names, shapes and what they start from.

/// Number of a parameter tensor.
pub(super) type Parameter = usize;

/// A tensor of the network.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// What a new one is filled with.
    pub(crate) start: f64,
    /// Whether it has a gradient. Running statistics have none.
    pub(crate) trained: bool,
}

/// All tensors of a network, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<Spec>);

impl Parameters {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Spec> {
        self.0.iter()
    }

    /// The weight (first, second, kernel) of a convolution of `kernel` (D, H, W).
    pub(super) fn weight(
        &mut self,
        name: &str,
        [first, second]: [usize; 2],
        kernel: [usize; 3],
    ) -> Parameter {
        let [d, h, w] = kernel;
        self.push(name, vec![first, second, d, h, w], 0.0, true)
    }

    /// A number for each channel, learnt.
    pub(super) fn vector(&mut self, name: &str, channels: usize, start: f64) -> Parameter {
        self.push(name, vec![channels], start, true)
    }

    /// A number for each channel, gathered in training.
    pub(super) fn statistic(&mut self, name: &str, channels: usize, start: f64) -> Parameter {
        self.push(name, vec![channels], start, false)
    }

    fn push(&mut self, name: &str, shape: Vec<usize>, start: f64, trained: bool) -> Parameter {
        self.0.push(Spec { name: name.into(), shape, start, trained });
        self.0.len() - 1
    }
}
