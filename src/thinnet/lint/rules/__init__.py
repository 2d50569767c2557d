"""The rules, one file each."""

from typing import Any

from thinnet.lint.rule import LintRule
from thinnet.lint.rules.alpha_dropout_without_selu import AlphaDropoutWithoutSelu
from thinnet.lint.rules.attention_dropout_in_eval import AttentionDropoutInEval
from thinnet.lint.rules.channel_dropout_without_channels import ChannelDropoutWithoutChannels
from thinnet.lint.rules.checkpoint_without_rng_state import CheckpointWithoutRngState
from thinnet.lint.rules.conditional_dropout_layer import ConditionalDropoutLayer
from thinnet.lint.rules.constant_training_mode import ConstantTrainingMode
from thinnet.lint.rules.dropout_after_selu import DropoutAfterSelu
from thinnet.lint.rules.dropout_after_softmax import DropoutAfterSoftmax
from thinnet.lint.rules.dropout_before_batch_norm import DropoutBeforeBatchNorm
from thinnet.lint.rules.dropout_before_max_pool import DropoutBeforeMaxPool
from thinnet.lint.rules.dropout_before_next_batch_norm import DropoutBeforeNextBatchNorm
from thinnet.lint.rules.dropout_created_in_forward import DropoutCreatedInForward
from thinnet.lint.rules.dropout_in_plain_list import DropoutInPlainList
from thinnet.lint.rules.dropout_on_logits import DropoutOnLogits
from thinnet.lint.rules.dropout_that_never_drops import DropoutThatNeverDrops
from thinnet.lint.rules.dropout_without_training import DropoutWithoutTraining
from thinnet.lint.rules.evaluation_without_eval import EvaluationWithoutEval
from thinnet.lint.rules.inplace_dropout_after_saved_output import InplaceDropoutAfterSavedOutput
from thinnet.lint.rules.keep_probability_as_rate import KeepProbabilityAsRate
from thinnet.lint.rules.layer_as_rate import LayerAsRate
from thinnet.lint.rules.mask_in_low_precision import MaskInLowPrecision
from thinnet.lint.rules.mask_without_training import MaskWithoutTraining
from thinnet.lint.rules.mode_switch_without_call import ModeSwitchWithoutCall
from thinnet.lint.rules.monte_carlo_by_isinstance import MonteCarloByIsinstance
from thinnet.lint.rules.monte_carlo_by_train_mode import MonteCarloByTrainMode
from thinnet.lint.rules.non_torch_random_in_forward import NonTorchRandomInForward
from thinnet.lint.rules.rate_as_percentage import RateAsPercentage
from thinnet.lint.rules.rate_of_one import RateOfOne
from thinnet.lint.rules.rates_set_by_isinstance import RatesSetByIsinstance
from thinnet.lint.rules.recurrent_dropout_with_one_layer import RecurrentDropoutWithOneLayer
from thinnet.lint.rules.same_seed_on_all_ranks import SameSeedOnAllRanks
from thinnet.lint.rules.seed_in_training_step import SeedInTrainingStep
from thinnet.lint.rules.tensor_passed_to_constructor import TensorPassedToConstructor
from thinnet.lint.rules.tensorflow_argument import TensorflowArgument
from thinnet.lint.rules.train_mode_in_evaluation import TrainModeInEvaluation
from thinnet.lint.rules.training_argument_to_layer import TrainingArgumentToLayer
from thinnet.lint.rules.training_attribute_set import TrainingAttributeSet
from thinnet.lint.rules.training_flag_as_rate import TrainingFlagAsRate
from thinnet.lint.rules.training_in_eval_mode import TrainingInEvalMode
from thinnet.lint.rules.unused_dropout_result import UnusedDropoutResult

REGISTRY: tuple[LintRule[Any], ...] = (
    DropoutWithoutTraining(),
    DropoutThatNeverDrops(),
    ConstantTrainingMode(),
    AttentionDropoutInEval(),
    DropoutCreatedInForward(),
    DropoutInPlainList(),
    ModeSwitchWithoutCall(),
    EvaluationWithoutEval(),
    TrainingInEvalMode(),
    MonteCarloByTrainMode(),
    MonteCarloByIsinstance(),
    TrainingAttributeSet(),
    TrainModeInEvaluation(),
    DropoutBeforeBatchNorm(),
    DropoutOnLogits(),
    DropoutAfterSoftmax(),
    ChannelDropoutWithoutChannels(),
    AlphaDropoutWithoutSelu(),
    DropoutAfterSelu(),
    DropoutBeforeMaxPool(),
    DropoutBeforeNextBatchNorm(),
    KeepProbabilityAsRate(),
    RateAsPercentage(),
    RateOfOne(),
    TrainingFlagAsRate(),
    RecurrentDropoutWithOneLayer(),
    LayerAsRate(),
    ConditionalDropoutLayer(),
    RatesSetByIsinstance(),
    CheckpointWithoutRngState(),
    SameSeedOnAllRanks(),
    SeedInTrainingStep(),
    NonTorchRandomInForward(),
    MaskInLowPrecision(),
    MaskWithoutTraining(),
    TensorflowArgument(),
    TrainingArgumentToLayer(),
    InplaceDropoutAfterSavedOutput(),
    TensorPassedToConstructor(),
    UnusedDropoutResult(),
)
