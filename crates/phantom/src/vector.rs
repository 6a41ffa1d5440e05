//! Points and directions in millimetres, (x, y, z).

pub(crate) type Vector = [f32; 3];

pub(crate) fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(crate) fn subtract(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn scale(a: Vector, factor: f32) -> Vector {
    a.map(|v| v * factor)
}

pub(crate) fn dot(a: Vector, b: Vector) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn length(a: Vector) -> f32 {
    dot(a, a).sqrt()
}

/// `a` made one millimetre long; the zero vector stays as it is.
pub(crate) fn unit(a: Vector) -> Vector {
    let length = length(a);
    if length > 0.0 { scale(a, 1.0 / length) } else { a }
}

/// What is left of `a` without its part along the unit vector `axis`.
pub(crate) fn without(a: Vector, axis: Vector) -> Vector {
    subtract(a, scale(axis, dot(a, axis)))
}

/// `a` turned by `radians` about the z axis, from x towards y.
pub(crate) fn turned(a: Vector, radians: f32) -> Vector {
    let (sin, cos) = radians.sin_cos();
    [cos * a[0] - sin * a[1], sin * a[0] + cos * a[1], a[2]]
}
