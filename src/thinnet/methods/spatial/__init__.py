"""Methods whose coin decides a channel, or a region of one."""

from thinnet.methods.facts import Method
from thinnet.methods.pictures import tiles, untiled
from thinnet.methods.spatial import cutout, drop_block, max_pool_dropout, spatial_dropout

METHODS = (
    Method(
        spatial_dropout.FACTS,
        spatial_dropout.Dropout1d,
        spatial_dropout.dropout1d,
        lambda x: spatial_dropout.dropout1d(x[None], 0.3, training=True)[0],
    ),
    Method(
        spatial_dropout.FACTS,
        spatial_dropout.Dropout2d,
        spatial_dropout.dropout2d,
        lambda x: untiled(spatial_dropout.dropout2d(tiles(x), 0.3, training=True), x.shape[1]),
    ),
    Method(spatial_dropout.FACTS, spatial_dropout.Dropout3d, spatial_dropout.dropout3d),
    Method(drop_block.FACTS, drop_block.DropBlock1d, drop_block.drop_block1d),
    Method(
        drop_block.FACTS,
        drop_block.DropBlock2d,
        drop_block.drop_block2d,
        lambda x: drop_block.drop_block2d(x[None, None], 0.3, block=5, training=True)[0, 0],
    ),
    Method(drop_block.FACTS, drop_block.DropBlock3d, drop_block.drop_block3d),
    Method(max_pool_dropout.FACTS, max_pool_dropout.MaxPoolDropout1d, max_pool_dropout.max_pool_dropout1d),
    Method(
        max_pool_dropout.FACTS,
        max_pool_dropout.MaxPoolDropout2d,
        max_pool_dropout.max_pool_dropout2d,
        lambda x: (
            max_pool_dropout.max_pool_dropout2d(x[None, None], 0.5, training=True)[0, 0]
            .repeat_interleave(2, 0)
            .repeat_interleave(2, 1)
        ),
    ),
    Method(
        cutout.FACTS, cutout.Cutout, cutout.cutout, lambda x: cutout.cutout(x[None, None], x.shape[0] // 2, training=True)[0, 0]
    ),
)
