"""Methods whose coin decides a branch or a whole layer."""

from thinnet.methods.facts import Method
from thinnet.methods.residual import drop_path, fractal_join, layer_drop, shake_drop, stochastic_depth

METHODS = (
    Method(drop_path.FACTS, drop_path.DropPath, drop_path.drop_path),
    Method(stochastic_depth.FACTS, stochastic_depth.StochasticDepth),
    Method(layer_drop.FACTS, layer_drop.LayerDrop, layer_drop.layer_drop),
    Method(
        shake_drop.FACTS,
        shake_drop.ShakeDrop,
        shake_drop.shake_drop,
        lambda x: shake_drop.shake_drop(x[None, None], 1.0, level="pixel", training=True)[0, 0],
    ),
    Method(fractal_join.FACTS, fractal_join.FractalJoin, fractal_join.fractal_join),
    Method(fractal_join.FACTS, fractal_join.FractalPath),
)
