"""The relatives of RDDM as specs: what each paper's sampler is in the terms of `rddm.spec`.

x_t = x_0 + alpha_bar res + beta_bar eps - delta_bar x_in, res = x_in - x_0, holds for all of them; they differ in the three tables,
in where they start, in what the network models, and in the step. A_t is DDPM's product of 1 - beta.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rddm.spec import Curve, ModelSpec, NamedSchedule


@dataclass(frozen=True)
class Relative:
    """One method: where it is described, its step (with an equation's number where that is known), what it decides."""

    paper: str
    formula: str
    decides: Mapping[str, Any] = field(default_factory=dict)


def _named(alpha: str, beta2: str, delta: str | None = None, sum_scale: float = 1.0, delta_scale: float = 1.0) -> NamedSchedule:
    third = None if delta is None else Curve(name=delta)
    return NamedSchedule(
        alpha=Curve(name=alpha), beta2=Curve(name=beta2), sum_scale=sum_scale, delta=third, delta_scale=delta_scale
    )


_DDIM = _named("ddim_linear", "ddim_linear")
# With delta = alpha nothing of x_in is left in x_t: DDPM with a condition, or from a guide.
_DDIM_BESIDE_IMAGE = _named("ddim_linear", "ddim_linear", "ddim_linear")
_NOISE = {"objective": "pred_noise", "residual_clip": None, "update": "recomposed", "variance": "ddim"}
_X_0 = {"objective": "pred_x0", "residual_clip": None}
# Their networks see x_t alone: beside x_in, x_t without noise would tell x_0 at every index but the last.
_X_0_OF_X_T = {**_X_0, "condition": ()}
_RESSHIFT = NamedSchedule(alpha=Curve(name="resshift", exponent=0.3), beta2=Curve(name="resshift", exponent=0.3), sum_scale=4)
_I2SB_VARIANCE = 0.19  # of beta_max = 0.3 over 1,000 indices

RELATIVES: dict[str, Relative] = {
    "rddm": Relative("Liu et al., Residual Denoising Diffusion Models, CVPR 2024", "equations 7, 12 and 13"),
    "ddpm": Relative(
        "Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020",
        "q(x_{t-1} | x_t, x_0), equations 6 and 7; DDIM's equation 12 with eta 1",
        {**_NOISE, "schedule": _DDIM, "start": "noise", "condition": (), "eta": 1.0},
    ),
    "ddim": Relative(
        "Song et al., Denoising Diffusion Implicit Models, ICLR 2021",
        "x_{t'} = sqrt(A') x_0 + sqrt(1 - A') eps, equation 12 with eta 0",
        {**_NOISE, "schedule": _DDIM, "start": "noise", "condition": ()},
    ),
    "sr3": Relative(
        "Saharia et al., Image Super-Resolution via Iterative Refinement, TPAMI 2022",
        "x_{t-1} = (x_t - (1 - a_t) / sqrt(1 - A_t) f(x_in, x_t)) / sqrt(a_t) + sqrt(1 - a_t) z, its inference step",
        {**_NOISE, "schedule": _DDIM_BESIDE_IMAGE, "start": "noise", "condition": ("image",), "eta": 1.0, "variance": "ddpm_large"},
    ),
    "weatherdiffusion": Relative(
        "Oezdenizci and Legenstein, Restoring Vision in Adverse Weather Conditions with Patch-Based DDMs, TPAMI 2023",
        "algorithm 2: in every DDIM step eps is the mean over overlapping patches (here weighted by the tiles' windows)",
        {
            **_NOISE,
            "schedule": _DDIM_BESIDE_IMAGE,
            "start": "noise",
            "condition": ("image",),
            **{"sizes": ((64, 64),), "reach": 32, "size_multiple": 16},
        },
    ),
    "sdedit": Relative(
        "Meng et al., SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations, ICLR 2022",
        "x_{t_0} = sqrt(A_{t_0}) x_in + sqrt(1 - A_{t_0}) eps, then a generator's sampler (VP form); begin = t_0",
        {**_NOISE, "schedule": _DDIM_BESIDE_IMAGE, "start": "diffused", "condition": (), "begin": 0.5, "eta": 1.0},
    ),
    "cold-naive": Relative(
        "Bansal et al., Cold Diffusion: Inverting Arbitrary Image Transforms Without Noise, NeurIPS 2023",
        "x_{t-1} = D(R(x_t, t), t - 1), algorithm 1, with D(x_0, t) = x_0 + alpha_bar_t (x_in - x_0)",
        {**_X_0_OF_X_T, "schedule": _named("average", "average", sum_scale=0), "update": "recomposed"},
    ),
    "cold": Relative(
        "Bansal et al., Cold Diffusion, NeurIPS 2023",
        "x_{t-1} = x_t - D(R, t) + D(R, t - 1), algorithm 2, with the same D",
        {**_X_0_OF_X_T, "schedule": _named("average", "average", sum_scale=0)},
    ),
    "indi": Relative(
        "Delbracio and Milanfar, Inversion by Direct Iteration, TMLR 2023",
        "x_{t-d} = d/t F(x_t, t) + (1 - d/t) x_t, its inference step; epsilon_t = 0.01 throughout",
        {**_X_0_OF_X_T, "schedule": _named("average", "quadratic", sum_scale=1e-4), "update": "interpolated"},
    ),
    "indi-brownian": Relative(
        "Delbracio and Milanfar, Inversion by Direct Iteration, TMLR 2023",
        "the same + (t - d) sqrt(epsilon_{t-d}^2 - epsilon_t^2) n; epsilon_t = 0.01 / sqrt(t)",
        {**_X_0_OF_X_T, "schedule": _named("average", "average", sum_scale=1e-4), "update": "interpolated", "eta": 1.0},
    ),
    "i2sb": Relative(
        "Liu et al., I2SB: Image-to-Image Schroedinger Bridge, ICML 2023",
        "the DDPM posterior of equation 4 on the bridge of equation 11, for a network trained by equation 12",
        {
            "objective": "pred_drift",
            "schedule": _named("i2sb", "bridge", sum_scale=_I2SB_VARIANCE),
            **{"residual_clip": None, "update": "interpolated", "eta": 1.0, "condition": ()},
        },
    ),
    "i2sb-ode": Relative(
        "Liu et al., I2SB, ICML 2023",
        "its OT-ODE: the mean of equation 4 alone, for a network trained at beta_bar = 0",
        {**_X_0_OF_X_T, "schedule": _named("i2sb", "average", sum_scale=0), "update": "interpolated"},
    ),
    "resshift": Relative(
        "Yue et al., ResShift: Efficient Diffusion Model for Image Super-resolution by Residual Shifting, NeurIPS 2023",
        "x_{t-1} = eta_{t-1} / eta_t x_t + a_t / eta_t x_0 + kappa sqrt(eta_{t-1} a_t / eta_t) z; kappa = 2, p = 0.3",
        {**_X_0, "schedule": _RESSHIFT, "update": "interpolated", "eta": 1.0, "timesteps": 15},
    ),
    "diffuir": Relative(
        "Zheng et al., Selective Hourglass Mapping for Universal Image Restoration (DiffUIR), CVPR 2024",
        "x_t' = x_t - (alpha_bar - alpha_bar') res + (delta_bar - delta_bar') x_in, as its code steps: eps stays until the end",
        {
            "schedule": _named("ddim_linear", "ddim_linear", "diffuir", delta_scale=0.9005, sum_scale=0.01),
            **{"time_input": "abar_bbar", "residual_clip": 1.0, "order": "residual_only", "grid": "authors", "default_steps": 3},
        },
    ),
    "resfusion": Relative(
        "Shi et al., Resfusion, NeurIPS 2024",
        "x_{t-1} = (x_t - b_t / sqrt(1 - A_t) resnoise) / sqrt(a_t) + sigma z, equation 33, from sqrt(A) = 1/2 (28)",
        {
            "objective": "pred_resnoise",
            "schedule": _named("resfusion", "resfusion", "resfusion", sum_scale=0.75),
            **{"residual_clip": None, "update": "recomposed", "variance": "ddim", "eta": 1.0, "timesteps": 12, "begin": 5 / 12},
        },
    ),
    "drdd": Relative(
        "Lin et al., Decoupled Residual Denoising Diffusion Models, CVPR 2026 (arXiv 2606.01048)",
        "noise is added to x_in, the residual removed along alpha_bar under that noise, then the noise along beta_bar",
        {
            "objective": "pred_res_noise",
            "schedule": _DDIM,
            **{"time_input": "abar_bbar", "residual_clip": None, "image_clip": None, "order": "decoupled", "grid": "authors"},
        },
    ),
}


def relative_spec(relative: str, **facts: Any) -> ModelSpec:
    """The spec of a relative; facts (name, task, licence, image_size of a generator, ...) complete or overrule what it decides.

    Raises ValueError for an unknown relative, with the list.
    """
    if relative not in RELATIVES:
        raise ValueError(f"unknown relative {relative!r}; expected one of {sorted(RELATIVES)}")
    decides = dict(RELATIVES[relative].decides)
    most = max(round(decides.get("begin", 1.0) * decides.get("timesteps", 1000)), 1)
    steps = {"max_steps": min(100, most), "default_steps": min(5, most)}
    return ModelSpec.model_validate({**steps, **decides, **facts})
