"""The rules, one file each. A new one is its file, a line here, and its fixtures in tests/lint."""

from thinnet.lint.rule import Rule
from thinnet.lint.rules.alpha_dropout_without_selu import AlphaDropoutWithoutSelu
from thinnet.lint.rules.attention_dropout_in_eval import AttentionDropoutInEval
from thinnet.lint.rules.channel_dropout_on_features import ChannelDropoutOnFeatures
from thinnet.lint.rules.checkpoint_without_rng_state import CheckpointWithoutRngState
from thinnet.lint.rules.coin_in_low_precision import CoinInLowPrecision
from thinnet.lint.rules.constant_training_mode import ConstantTrainingMode
from thinnet.lint.rules.dropout_after_selu import DropoutAfterSelu
from thinnet.lint.rules.dropout_after_softmax import DropoutAfterSoftmax
from thinnet.lint.rules.dropout_before_batch_norm import DropoutBeforeBatchNorm
from thinnet.lint.rules.dropout_before_max_pool import DropoutBeforeMaxPool
from thinnet.lint.rules.dropout_in_plain_list import DropoutInPlainList
from thinnet.lint.rules.dropout_made_in_forward import DropoutMadeInForward
from thinnet.lint.rules.dropout_on_logits import DropoutOnLogits
from thinnet.lint.rules.dropout_that_never_drops import DropoutThatNeverDrops
from thinnet.lint.rules.dropout_without_training import DropoutWithoutTraining
from thinnet.lint.rules.dropped_result_thrown_away import DroppedResultThrownAway
from thinnet.lint.rules.evaluation_without_eval import EvaluationWithoutEval
from thinnet.lint.rules.foreign_randomness_in_forward import ForeignRandomnessInForward
from thinnet.lint.rules.inplace_dropout_after_saved_output import InplaceDropoutAfterSavedOutput
from thinnet.lint.rules.keep_probability_as_rate import KeepProbabilityAsRate
from thinnet.lint.rules.layer_as_rate import LayerAsRate
from thinnet.lint.rules.mask_without_training import MaskWithoutTraining
from thinnet.lint.rules.mode_switch_without_call import ModeSwitchWithoutCall
from thinnet.lint.rules.monte_carlo_by_isinstance import MonteCarloByIsinstance
from thinnet.lint.rules.monte_carlo_by_train_mode import MonteCarloByTrainMode
from thinnet.lint.rules.rate_as_percentage import RateAsPercentage
from thinnet.lint.rules.rate_decides_layer import RateDecidesLayer
from thinnet.lint.rules.rate_of_one import RateOfOne
from thinnet.lint.rules.rates_set_by_isinstance import RatesSetByIsinstance
from thinnet.lint.rules.recurrent_dropout_with_one_layer import RecurrentDropoutWithOneLayer
from thinnet.lint.rules.same_seed_on_all_ranks import SameSeedOnAllRanks
from thinnet.lint.rules.seed_in_training_step import SeedInTrainingStep
from thinnet.lint.rules.tensor_given_to_constructor import TensorGivenToConstructor
from thinnet.lint.rules.tensorflow_argument import TensorflowArgument
from thinnet.lint.rules.training_argument_at_layer import TrainingArgumentAtLayer
from thinnet.lint.rules.training_attribute_set import TrainingAttributeSet
from thinnet.lint.rules.training_flag_as_rate import TrainingFlagAsRate
from thinnet.lint.rules.training_left_in_eval import TrainingLeftInEval

REGISTRY: tuple[Rule, ...] = (
    DropoutWithoutTraining(),
    DropoutThatNeverDrops(),
    ConstantTrainingMode(),
    AttentionDropoutInEval(),
    DropoutMadeInForward(),
    DropoutInPlainList(),
    ModeSwitchWithoutCall(),
    EvaluationWithoutEval(),
    TrainingLeftInEval(),
    MonteCarloByTrainMode(),
    MonteCarloByIsinstance(),
    TrainingAttributeSet(),
    DropoutBeforeBatchNorm(),
    DropoutOnLogits(),
    DropoutAfterSoftmax(),
    ChannelDropoutOnFeatures(),
    AlphaDropoutWithoutSelu(),
    DropoutAfterSelu(),
    DropoutBeforeMaxPool(),
    KeepProbabilityAsRate(),
    RateAsPercentage(),
    RateOfOne(),
    TrainingFlagAsRate(),
    RecurrentDropoutWithOneLayer(),
    LayerAsRate(),
    RateDecidesLayer(),
    RatesSetByIsinstance(),
    CheckpointWithoutRngState(),
    SameSeedOnAllRanks(),
    SeedInTrainingStep(),
    ForeignRandomnessInForward(),
    CoinInLowPrecision(),
    MaskWithoutTraining(),
    TensorflowArgument(),
    TrainingArgumentAtLayer(),
    InplaceDropoutAfterSavedOutput(),
    TensorGivenToConstructor(),
    DroppedResultThrownAway(),
)
