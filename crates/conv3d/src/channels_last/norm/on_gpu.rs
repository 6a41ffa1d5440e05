//! Norms by kernels that have several results.

use candle_core::{DType, Result, Tensor, bail};

use super::{Norm, Through, three, with_voxels};
use crate::channels_last::activate::Read;
use crate::channels_last::layout::{Voxels, readable};
use crate::channels_last::on_gpu::{on_card, tensor};
use crate::channels_last::{wide, widened};
use crate::cuda::{by_cuda_type, last};

pub(super) fn norm_terms(y: &Tensor, sums: Option<&Tensor>, norm: &Norm<'_>) -> Result<Tensor> {
    let (y, number) = (readable(y)?, y.dtype());
    let [gamma, beta] = [widened(norm.gamma, number)?, widened(norm.beta, number)?];
    let sums = sums.map(Tensor::contiguous).transpose()?;
    on_card(&y, |(storage, layout)| {
        let v = with_voxels("norm_read", layout)?;
        if [gamma.dims(), beta.dims()] != [[v.channels]; 2] {
            bail!(
                "norm_read: scale {:?} and shift {:?} for {} channels",
                gamma.dims(),
                beta.dims(),
                v.channels
            );
        }
        if let Some(sums) = &sums
            && (sums.rank() != 4 || [sums.dim(0)?, sums.dim(2)?, sums.dim(3)?] != [v.batch, v.channels, 2])
        {
            bail!("norm_read: sums {:?} for {} samples of {} channels", sums.dims(), v.batch, v.channels);
        }
        let terms = on_card(&gamma, |gamma| {
            on_card(&beta, |beta| {
                let all = last::Norm { gamma, beta, epsilon: norm.epsilon };
                match &sums {
                    Some(sums) => on_card(sums, |sums| {
                        by_cuda_type!("norm_read", storage, last::norm_terms_of(storage, &v, sums, &all))
                    }),
                    None => by_cuda_type!("norm_read", storage, last::norm_terms(storage, &v, &all)),
                }
            })
        })?;
        Ok(tensor(terms, (4, v.batch, v.channels)))
    })
}

pub(super) fn bias_terms(bias: &Tensor, batch: usize, number: DType) -> Result<Tensor> {
    let (bias, channels) = (widened(bias, number)?, bias.elem_count());
    let terms = on_card(&bias, |bias| match wide(number) {
        DType::F64 => last::bias_terms::<f64>(bias, batch),
        _ => last::bias_terms::<f32>(bias, batch),
    })?;
    Ok(tensor(terms, (4, batch, channels)))
}

pub(super) fn through_norm(gradient: &Tensor, y: &Tensor, read: &Read, gamma: &Tensor) -> Result<Through> {
    let (g, y) = (readable(gradient)?, readable(y)?);
    let (terms, gamma) = (read.terms.contiguous()?, widened(gamma, y.dtype())?);
    let [dy, for_gamma, for_beta] = on_card(&g, |g| {
        on_card(&y, |y| {
            on_card(&terms, |terms| {
                let voxels = three("through_norm", [g.1, y.1, terms.1], 4)?;
                if gamma.dims() != [voxels[1].channels] {
                    bail!("through_norm: scale {:?} for {} channels", gamma.dims(), voxels[1].channels);
                }
                on_card(&gamma, |gamma| {
                    let all = [terms, gamma];
                    by_cuda_type!("through_norm", y.0, last::through_norm(read.slope, g.0, y.0, all, &voxels))
                })
            })
        })
    })?;
    let channels = gamma.elem_count();
    Ok(Through {
        y: tensor(dy, y.shape()),
        gamma: Some(tensor(for_gamma, channels)),
        beta: tensor(for_beta, channels),
    })
}

/// Σ g′ (C).
pub(super) fn through_sums(gradient: &Tensor, y: &Tensor, read: &Read) -> Result<Tensor> {
    let (g, y, terms) = (readable(gradient)?, readable(y)?, read.terms.contiguous()?);
    on_card(&g, |g| {
        on_card(&y, |y| {
            on_card(&terms, |terms| {
                let voxels = three("through_bias", [g.1, y.1, terms.1], 4)?;
                let sums =
                    by_cuda_type!("through_bias", y.0, last::sums(read.slope, g.0, y.0, terms, &voxels))?;
                Ok(tensor(sums, voxels[1].channels))
            })
        })
    })
}

pub(super) fn totals(gradient: &Tensor) -> Result<Tensor> {
    on_card(&readable(gradient)?, |(g, layout)| {
        let v = Voxels::of("totals", layout)?;
        Ok(tensor(by_cuda_type!("totals", g, last::totals(g, &v))?, v.channels))
    })
}
