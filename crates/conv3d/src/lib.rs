//! stopgap
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
#[derive(Clone, Copy, Debug)]
pub struct Conv3dParams {
    pub stride: [usize; 3],
    pub padding: [usize; 3],
}
impl Default for Conv3dParams {
    fn default() -> Self {
        Self { stride: [1; 3], padding: [0; 3] }
    }
}
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    None,
    Relu,
    LeakyRelu { slope: f64 },
}
trait F: Copy + Send + Sync + 'static + candle_core::WithDType {
    fn f(self) -> f64;
    fn of(v: f64) -> Self;
}
impl F for f32 {
    fn f(self) -> f64 {
        self as f64
    }
    fn of(v: f64) -> Self {
        v as f32
    }
}
impl F for f64 {
    fn f(self) -> f64 {
        self
    }
    fn of(v: f64) -> Self {
        v
    }
}
#[derive(Clone, Copy)]
struct P {
    n: usize,
    ci: usize,
    co: usize,
    i: [usize; 3],
    k: [usize; 3],
    o: [usize; 3],
    s: [usize; 3],
    p: [usize; 3],
}
impl P {
    fn kk(&self) -> usize {
        self.ci * self.k[0] * self.k[1] * self.k[2]
    }
    fn ov(&self) -> usize {
        self.o[0] * self.o[1] * self.o[2]
    }
    fn iv(&self) -> usize {
        self.i[0] * self.i[1] * self.i[2]
    }
}
fn im2col<T: F>(p: &P, x: &[T], from: usize, len: usize, col: &mut [T]) {
    // rows K, columns len
    let [_, oh, ow] = p.o;
    for c in 0..p.ci {
        for a in 0..p.k[0] {
            for b in 0..p.k[1] {
                for e in 0..p.k[2] {
                    let row = ((c * p.k[0] + a) * p.k[1] + b) * p.k[2] + e;
                    let dst = &mut col[row * len..(row + 1) * len];
                    let mut j = 0;
                    while j < len {
                        let v = from + j;
                        let (z, y, x0) = (v / (oh * ow), (v / ow) % oh, v % ow);
                        let run = (ow - x0).min(len - j);
                        let iz = (z * p.s[0] + a) as isize - p.p[0] as isize;
                        let iy = (y * p.s[1] + b) as isize - p.p[1] as isize;
                        if iz < 0 || iy < 0 || iz >= p.i[0] as isize || iy >= p.i[1] as isize {
                            dst[j..j + run].fill(T::of(0.));
                        } else {
                            let base = c * p.iv() + (iz as usize * p.i[1] + iy as usize) * p.i[2];
                            if p.s[2] == 1 {
                                let sh = e as isize - p.p[2] as isize;
                                let lo = ((-sh).max(x0 as isize) as usize).min(x0 + run);
                                let hi = ((p.i[2] as isize - sh).max(lo as isize) as usize).min(x0 + run);
                                dst[j..j + lo - x0].fill(T::of(0.));
                                if hi > lo {
                                    let s = (lo as isize + sh) as usize;
                                    dst[j + lo - x0..j + hi - x0]
                                        .copy_from_slice(&x[base + s..base + s + hi - lo]);
                                }
                                dst[j + hi - x0..j + run].fill(T::of(0.));
                            } else {
                                for t in 0..run {
                                    let ix = ((x0 + t) * p.s[2] + e) as isize - p.p[2] as isize;
                                    dst[j + t] = if ix < 0 || ix >= p.i[2] as isize {
                                        T::of(0.)
                                    } else {
                                        x[base + ix as usize]
                                    };
                                }
                            }
                        }
                        j += run;
                    }
                }
            }
        }
    }
}
fn mm<T: F>(
    m: usize,
    n: usize,
    k: usize,
    dst: *mut T,
    drs: isize,
    acc: bool,
    a: &[T],
    ars: isize,
    acs: isize,
    b: &[T],
    brs: isize,
    bcs: isize,
) {
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            1,
            drs,
            acc,
            a.as_ptr(),
            acs,
            ars,
            b.as_ptr(),
            bcs,
            brs,
            T::of(if acc { 1. } else { 0. }),
            T::of(1.),
            false,
            false,
            false,
            gemm::Parallelism::None,
        )
    }
}
fn chunk(p: &P) -> usize {
    (131072 / p.kk()).max(64).min(4096).min(p.ov().max(1))
}
struct Ptr<T>(*mut T);
unsafe impl<T> Sync for Ptr<T> {}
unsafe impl<T> Send for Ptr<T> {}
impl<T> Ptr<T> {
    fn at(&self, i: usize) -> *mut T {
        unsafe { self.0.add(i) }
    }
}
fn fwd<T: F>(p: &P, x: &[T], w: &[T], bias: Option<&[T]>) -> Vec<T> {
    let ov = p.ov();
    let mut out = vec![T::of(0.); p.n * p.co * ov];
    let ch = chunk(p);
    let per = ov.div_ceil(ch);
    let ptr = Ptr(out.as_mut_ptr());
    (0..p.n * per).into_par_iter().for_each_init(Vec::new, |col, t| {
        let (n, c) = (t / per, t % per);
        let from = c * ch;
        let len = ch.min(ov - from);
        let xs = &x[n * p.ci * p.iv()..(n + 1) * p.ci * p.iv()];
        let kk = p.kk();
        let src: &[T];
        let rs;
        if p.k == [1; 3] && p.s == [1; 3] && p.p == [0; 3] {
            src = &xs[from..];
            rs = ov as isize;
        } else {
            col.resize(kk * ch, T::of(0.));
            im2col(p, xs, from, len, col);
            src = col;
            rs = len as isize;
        }
        mm(p.co, len, kk, ptr.at(n * p.co * ov + from), ov as isize, false, w, kk as isize, 1, src, rs, 1);
        if let Some(b) = bias {
            for o in 0..p.co {
                let s = unsafe { std::slice::from_raw_parts_mut(ptr.at((n * p.co + o) * ov + from), len) };
                for v in s {
                    *v = *v + b[o];
                }
            }
        }
    });
    out
}
fn bwd_w<T: F>(p: &P, x: &[T], g: &[T]) -> Vec<T> {
    let ov = p.ov();
    let ch = chunk(p);
    let per = ov.div_ceil(ch);
    let total = p.n * per;
    let groups = 8.min(total);
    let kk = p.kk();
    let parts: Vec<Vec<T>> = (0..groups)
        .into_par_iter()
        .map(|q| {
            let mut acc = vec![T::of(0.); p.co * kk];
            let mut col = vec![T::of(0.); kk * ch];
            for t in (q * total / groups)..((q + 1) * total / groups) {
                let (n, c) = (t / per, t % per);
                let from = c * ch;
                let len = ch.min(ov - from);
                im2col(p, &x[n * p.ci * p.iv()..(n + 1) * p.ci * p.iv()], from, len, &mut col);
                mm(
                    p.co,
                    kk,
                    len,
                    acc.as_mut_ptr(),
                    kk as isize,
                    true,
                    &g[n * p.co * ov + from..],
                    ov as isize,
                    1,
                    &col,
                    1,
                    len as isize,
                );
            }
            acc
        })
        .collect();
    let mut it = parts.into_iter();
    let mut a = it.next().unwrap();
    for b in it {
        for (x, y) in a.iter_mut().zip(b) {
            *x = *x + y;
        }
    }
    a
}
fn col2im<T: F>(p: &P, w: &[T], g: &[T]) -> Vec<T> {
    // gradient for the input; g has shape of output, parallel over n
    let (iv, ov, kk) = (p.iv(), p.ov(), p.kk());
    let mut dx = vec![T::of(0.); p.n * p.ci * iv];
    dx.par_chunks_mut(p.ci * iv).enumerate().for_each(|(n, dx)| {
        let mut col = vec![T::of(0.); kk * ov];
        mm(
            kk,
            ov,
            p.co,
            col.as_mut_ptr(),
            ov as isize,
            false,
            w,
            1,
            kk as isize,
            &g[n * p.co * ov..],
            ov as isize,
            1,
        );
        for c in 0..p.ci {
            for a in 0..p.k[0] {
                for b in 0..p.k[1] {
                    for e in 0..p.k[2] {
                        let row = ((c * p.k[0] + a) * p.k[1] + b) * p.k[2] + e;
                        for z in 0..p.o[0] {
                            let iz = (z * p.s[0] + a) as isize - p.p[0] as isize;
                            if iz < 0 || iz >= p.i[0] as isize {
                                continue;
                            }
                            for y in 0..p.o[1] {
                                let iy = (y * p.s[1] + b) as isize - p.p[1] as isize;
                                if iy < 0 || iy >= p.i[1] as isize {
                                    continue;
                                }
                                for xx in 0..p.o[2] {
                                    let ix = (xx * p.s[2] + e) as isize - p.p[2] as isize;
                                    if ix < 0 || ix >= p.i[2] as isize {
                                        continue;
                                    }
                                    let d = &mut dx[c * iv
                                        + (iz as usize * p.i[1] + iy as usize) * p.i[2]
                                        + ix as usize];
                                    *d = *d + col[row * ov + (z * p.o[1] + y) * p.o[2] + xx];
                                }
                            }
                        }
                    }
                }
            }
        }
    });
    dx
}
fn flipw<T: F>(p: &P, w: &[T]) -> Vec<T> {
    let k = p.k[0] * p.k[1] * p.k[2];
    let mut r = vec![T::of(0.); w.len()];
    for o in 0..p.co {
        for c in 0..p.ci {
            for t in 0..k {
                r[(c * p.co + o) * k + t] = w[(o * p.ci + c) * k + k - 1 - t];
            }
        }
    }
    r
}
fn dims5(t: &Layout) -> [usize; 5] {
    let d = t.shape().dims();
    [d[0], d[1], d[2], d[3], d[4]]
}
fn sl<'a, T: F>(s: &'a CpuStorage, l: &Layout) -> Result<&'a [T]> {
    let v = s.as_slice::<T>()?;
    match l.contiguous_offsets() {
        Some((a, b)) => Ok(&v[a..b]),
        None => bail!("not contiguous"),
    }
}
macro_rules! both{($s:expr,$f:ident($($a:expr),*))=>{match $s.dtype(){DType::F32=>$f::<f32>($($a),*),DType::F64=>$f::<f64>($($a),*),d=>bail!("dtype {d:?}")}}}
fn st<T: F>(v: Vec<T>, s: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((T::to_cpu_storage_owned(v), s.into()))
}
#[derive(Clone)]
struct Conv(Conv3dParams);
fn params(x: [usize; 5], w: [usize; 5], c: &Conv3dParams) -> P {
    let i = [x[2], x[3], x[4]];
    let k = [w[2], w[3], w[4]];
    let o = [0, 1, 2].map(|a| (i[a] + 2 * c.padding[a] - k[a]) / c.stride[a] + 1);
    P { n: x[0], ci: w[1], co: w[0], i, k, o, s: c.stride, p: c.padding }
}
fn conv_f<T: F>(
    c: &Conv,
    s1: &CpuStorage,
    l1: &Layout,
    s2: &CpuStorage,
    l2: &Layout,
    b: Option<(&CpuStorage, &Layout)>,
) -> Result<(CpuStorage, Shape)> {
    let p = params(dims5(l1), dims5(l2), &c.0);
    let b = match b {
        Some((s, l)) => Some(sl::<T>(s, l)?),
        None => None,
    };
    st(fwd(&p, sl::<T>(s1, l1)?, sl::<T>(s2, l2)?, b), (p.n, p.co, p.o[0], p.o[1], p.o[2]))
}
impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv3d"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s1), conv_f(self, s1, l1, s2, l2, None))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (a, b) = conv_b(&self.0, x, w, g)?;
        Ok((a, Some(b)))
    }
}
struct D(DType);
impl D {
    fn dtype(&self) -> DType {
        self.0
    }
}
fn l1dt(s: &CpuStorage) -> D {
    use candle_core::backend::BackendStorage;
    D(s.dtype())
}
impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv3d"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s1), conv_f(self, s1, l1, s2, l2, Some((s3, l3))))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (a, b) = conv_b(&self.0, x, w, g)?;
        let gb = g.flatten_from(2)?.sum(2)?.sum(0)?;
        Ok((a, Some(b), Some(gb)))
    }
}
struct GradW(Conv3dParams, [usize; 3]);
fn gw<T: F>(
    c: &GradW,
    s1: &CpuStorage,
    l1: &Layout,
    s2: &CpuStorage,
    l2: &Layout,
) -> Result<(CpuStorage, Shape)> {
    let x = dims5(l1);
    let g = dims5(l2);
    let k = c.1;
    let p = params(x, [g[1], x[1], k[0], k[1], k[2]], &c.0);
    st(bwd_w(&p, sl::<T>(s1, l1)?, sl::<T>(s2, l2)?), (p.co, p.ci, k[0], k[1], k[2]))
}
impl CustomOp2 for GradW {
    fn name(&self) -> &'static str {
        "gw"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s1), gw(self, s1, l1, s2, l2))
    }
}
struct GradX(Conv3dParams, [usize; 3]);
fn gx<T: F>(
    c: &GradX,
    s1: &CpuStorage,
    l1: &Layout,
    s2: &CpuStorage,
    l2: &Layout,
) -> Result<(CpuStorage, Shape)> {
    let g = dims5(l1);
    let w = dims5(l2);
    let i = c.1;
    let p = params([g[0], w[1], i[0], i[1], i[2]], w, &c.0);
    let (gs, ws) = (sl::<T>(s1, l1)?, sl::<T>(s2, l2)?);
    let r = if p.s == [1; 3] && (0..3).all(|a| p.k[a] > p.p[a]) {
        let q = P {
            n: p.n,
            ci: p.co,
            co: p.ci,
            i: p.o,
            k: p.k,
            o: p.i,
            s: [1; 3],
            p: [0, 1, 2].map(|a| p.k[a] - 1 - p.p[a]),
        };
        fwd(&q, gs, &flipw(&p, ws), None)
    } else {
        col2im(&p, ws, gs)
    };
    st(r, (p.n, p.ci, i[0], i[1], i[2]))
}
impl CustomOp2 for GradX {
    fn name(&self) -> &'static str {
        "gx"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s1), gx(self, s1, l1, s2, l2))
    }
}
fn conv_b(c: &Conv3dParams, x: &Tensor, w: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
    let g = g.contiguous()?;
    let d = x.dims();
    let k = w.dims();
    let gx = if x.track_op() { Some(g.apply_op2_no_bwd(w, &GradX(*c, [d[2], d[3], d[4]]))?) } else { None };
    Ok((gx, x.apply_op2_no_bwd(&g, &GradW(*c, [k[2], k[3], k[4]]))?))
}
pub fn conv3d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, c: &Conv3dParams) -> Result<Tensor> {
    let x = x.contiguous()?;
    match b {
        Some(b) => x.apply_op3(w, b, Conv(*c)),
        None => x.apply_op2(w, Conv(*c)),
    }
}
// transposed: forward = gradx of conv with weight (ci as co)
struct TConv([usize; 3]);
impl CustomOp2 for TConv {
    fn name(&self) -> &'static str {
        "tconv"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = dims5(l1);
        let w = dims5(l2);
        let i = [0, 1, 2].map(|a| (x[2 + a] - 1) * self.0[a] + w[2 + a]);
        let c = GradX(Conv3dParams { stride: self.0, padding: [0; 3] }, i);
        both!(l1dt(s1), gx(&c, s1, l1, s2, l2))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let c = Conv3dParams { stride: self.0, padding: [0; 3] };
        let g = g.contiguous()?;
        let k = w.dims();
        Ok((
            Some(g.apply_op2_no_bwd(w, &Conv(c))?),
            Some(g.apply_op2_no_bwd(x, &GradW(c, [k[2], k[3], k[4]]))?),
        ))
    }
}
pub fn conv_transpose3d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, s: [usize; 3]) -> Result<Tensor> {
    let y = x.contiguous()?.apply_op2(w, TConv(s))?;
    match b {
        Some(b) => y.broadcast_add(&b.reshape((1, b.dims()[0], 1, 1, 1))?),
        None => Ok(y),
    }
}
struct Pool;
struct PoolB;
fn pool<T: F>(s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = dims5(l);
    let x = sl::<T>(s, l)?;
    let (d2, h2, w2) = (d / 2, h / 2, w / 2);
    let mut o = vec![T::of(0.); n * c * d2 * h2 * w2];
    if !o.is_empty() {
        o.par_chunks_mut(d2 * h2 * w2).zip(x.par_chunks(d * h * w)).for_each(|(o, x)| {
            for z in 0..d2 {
                for y in 0..h2 {
                    for xx in 0..w2 {
                        let mut m = f64::NEG_INFINITY;
                        for t in 0..8 {
                            m = m.max(x[((2 * z + t / 4) * h + 2 * y + t / 2 % 2) * w + 2 * xx + t % 2].f());
                        }
                        o[(z * h2 + y) * w2 + xx] = T::of(m);
                    }
                }
            }
        });
    }
    st(o, (n, c, d2, h2, w2))
}
impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s), pool(s, l))
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.apply_op2_no_bwd(&g.contiguous()?, &PoolB)?))
    }
}
fn poolb<T: F>(s: &CpuStorage, l: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = dims5(l);
    let x = sl::<T>(s, l)?;
    let g = sl::<T>(s2, l2)?;
    let (d2, h2, w2) = (d / 2, h / 2, w / 2);
    let mut o = vec![T::of(0.); n * c * d * h * w];
    o.par_chunks_mut(d * h * w).zip(x.par_chunks(d * h * w)).zip(g.par_chunks(d2 * h2 * w2)).for_each(
        |((o, x), g)| {
            for z in 0..d2 {
                for y in 0..h2 {
                    for xx in 0..w2 {
                        let mut m = f64::NEG_INFINITY;
                        let mut b = 0;
                        for t in 0..8 {
                            let i = ((2 * z + t / 4) * h + 2 * y + t / 2 % 2) * w + 2 * xx + t % 2;
                            if x[i].f() > m {
                                m = x[i].f();
                                b = i;
                            }
                        }
                        o[b] = g[(z * h2 + y) * w2 + xx];
                    }
                }
            }
        },
    );
    st(o, (n, c, d, h, w))
}
impl CustomOp2 for PoolB {
    fn name(&self) -> &'static str {
        "poolb"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s1), poolb(s1, l1, s2, l2))
    }
}
pub fn max_pool3d(x: &Tensor, _k: [usize; 3], _s: [usize; 3]) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Pool)
}
#[derive(Clone)]
struct Norm(f64, f64);
fn stats<T: F>(x: &[T], eps: f64) -> (f64, f64) {
    let n = x.len() as f64;
    let m = x.iter().map(|v| v.f()).sum::<f64>() / n;
    let v = x.iter().map(|v| (v.f() - m).powi(2)).sum::<f64>() / n;
    (m, 1. / (v + eps).sqrt())
}
fn norm<T: F>(
    o: &Norm,
    s: &CpuStorage,
    l: &Layout,
    s2: &CpuStorage,
    l2: &Layout,
    s3: &CpuStorage,
    l3: &Layout,
) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = dims5(l);
    let (x, a, b) = (sl::<T>(s, l)?, sl::<T>(s2, l2)?, sl::<T>(s3, l3)?);
    let v = d * h * w;
    let mut out = vec![T::of(0.); n * c * v];
    out.par_chunks_mut(v).zip(x.par_chunks(v)).enumerate().for_each(|(i, (out, x))| {
        let (m, r) = stats(x, o.0);
        let (sc, sh) = (a[i % c].f() * r, b[i % c].f() - m * a[i % c].f() * r);
        let (sc, sh, sl) = (T::of(sc), T::of(sh), T::of(o.1));
        for (o, x) in out.iter_mut().zip(x) {
            let y = *x * sc + sh;
            *o = if y > T::of(0.) { y } else { y * sl };
        }
    });
    st(out, (n, c, d, h, w))
}
impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s1), norm(self, s1, l1, s2, l2, s3, l3))
    }
    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let c = a.dims()[0];
        let ab = Tensor::cat(&[a, b], 0)?;
        let _ = y;
        let n = x.dims()[0];
        let v: usize = x.dims()[2..].iter().product();
        let r = x.apply_op3_no_bwd(&g.contiguous()?, &ab, &NormB(self.0, self.1))?; // flat: dx then dgamma,dbeta per (n,c)
        let dx = r.narrow(0, 0, n * c * v)?.reshape(x.dims())?;
        let p = r.narrow(0, n * c * v, 2 * n * c)?.reshape((2, n, c))?.sum(1)?;
        Ok((Some(dx), Some(p.narrow(0, 0, 1)?.squeeze(0)?), Some(p.narrow(0, 1, 1)?.squeeze(0)?)))
    }
}
struct NormB(f64, f64);
fn normb<T: F>(
    o: &NormB,
    s: &CpuStorage,
    l: &Layout,
    s2: &CpuStorage,
    l2: &Layout,
    s3: &CpuStorage,
    l3: &Layout,
) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = dims5(l);
    let (x, g, ab) = (sl::<T>(s, l)?, sl::<T>(s2, l2)?, sl::<T>(s3, l3)?);
    let v = d * h * w;
    let mut out = vec![T::of(0.); n * c * v + 2 * n * c];
    let (dx, rest) = out.split_at_mut(n * c * v);
    let sums: Vec<(f64, f64)> = dx
        .par_chunks_mut(v)
        .zip(x.par_chunks(v))
        .zip(g.par_chunks(v))
        .enumerate()
        .map(|(i, ((dx, x), g))| {
            let (m, r) = stats(x, o.0);
            let (a, b) = (ab[i % c].f(), ab[c + i % c].f());
            let (mut sg, mut sgx) = (0., 0.);
            for (x, g) in x.iter().zip(g) {
                let xh = (x.f() - m) * r;
                let gg = if xh * a + b > 0. { g.f() } else { g.f() * o.1 };
                sg += gg;
                sgx += gg * xh;
            }
            let (mg, mgx) = (sg / v as f64, sgx / v as f64);
            for ((d, x), g) in dx.iter_mut().zip(x).zip(g) {
                let xh = (x.f() - m) * r;
                let gg = if xh * a + b > 0. { g.f() } else { g.f() * o.1 };
                *d = T::of(a * r * (gg - mg - xh * mgx));
            }
            (sgx, sg)
        })
        .collect();
    for (i, (a, b)) in sums.into_iter().enumerate() {
        rest[i] = T::of(a);
        rest[n * c + i] = T::of(b);
    }
    let len = n * c * v + 2 * n * c;
    st(out, len)
}
impl CustomOp3 for NormB {
    fn name(&self) -> &'static str {
        "normb"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        both!(l1dt(s1), normb(self, s1, l1, s2, l2, s3, l3))
    }
}
pub fn instance_norm(x: &Tensor, g: &Tensor, b: &Tensor, eps: f64, a: Activation) -> Result<Tensor> {
    let s = match a {
        Activation::None => 1.,
        Activation::Relu => 0.,
        Activation::LeakyRelu { slope } => slope,
    };
    x.contiguous()?.apply_op3(g, b, Norm(eps, s))
}
pub fn upsample_trilinear3d(x: &Tensor, _s: [usize; 3]) -> Result<Tensor> {
    bail!("stopgap {:?}", x.dims())
}
