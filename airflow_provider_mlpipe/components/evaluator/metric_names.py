"""The metrics that an `eval_config` may name without their module.

They are recorded here because a DAG file must not import TFMA, which takes long. A test compares them with the
installed libraries.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TFMAS = _names(
    """
    AUC AUCPrecisionRecall BalancedAccuracy BinaryAccuracy BinaryCrossEntropy Bleu BooleanFlipRates COCOAveragePrecision
    COCOAverageRecall COCOMeanAveragePrecision COCOMeanAverageRecall Calibration CalibrationPlot CategoricalCrossEntropy
    CoefficientOfDiscrimination ConfusionMatrixAtThresholds ConfusionMatrixPlot DiagnosticOddsRatio ExactMatch
    ExampleCount F1Score FN FNR FP FPR FallOut FalseDiscoveryRate FalseNegativeFeatureSampler FalseNegatives
    FalseOmissionRate FalsePositiveFeatureSampler FalsePositives FowlkesMallowsIndex Informedness Markedness
    MatthewsCorrelationCoefficient MaxRecall Mean MeanAbsoluteAttributions MeanAbsoluteError MeanAbsolutePercentageError
    MeanAttributions MeanLabel MeanPrediction MeanSquaredError MeanSquaredLogarithmicError MinLabelPosition MissRate
    ModelCosineSimilarity MultiClassConfusionMatrixAtThresholds MultiClassConfusionMatrixPlot
    MultiLabelConfusionMatrixPlot NDCG NPV NegToNegFlipRate NegToPosFlipRate NegativeLikelihoodRatio
    NegativePredictiveValue ObjectDetectionConfusionMatrixPlot ObjectDetectionMaxRecall ObjectDetectionPrecision
    ObjectDetectionPrecisionAtRecall ObjectDetectionRecall ObjectDetectionThresholdAtRecall PPV PosToNegFlipRate
    PosToPosFlipRate PositiveLikelihoodRatio Precision PrecisionAtRecall PredictedPositiveRate Prevalence
    PrevalenceThreshold QueryStatistics Recall RecallAtFalsePositiveRate RecallAtPrecision
    RelativeCoefficientOfDiscrimination Rouge ScoreDistributionPlot SemanticSegmentationConfusionMatrix
    SemanticSegmentationFalsePositive SemanticSegmentationTruePositive SensitivityAtSpecificity SetMatchPrecision
    SetMatchRecall Specificity SpecificityAtSensitivity SquaredPearsonCorrelation SymmetricFlipRate
    SymmetricPredictionDifference TN TNR TP TPR ThreatScore ThresholdAtRecall TotalAbsoluteAttributions
    TotalAttributions TrueNegatives TruePositives WeightedExampleCount
    """
)
"""Those that TFMA registers."""

KERAS = _names(
    """
    AUC Accuracy BinaryAccuracy BinaryCrossentropy BinaryIoU CategoricalAccuracy CategoricalCrossentropy
    CategoricalHinge CosineSimilarity F1Score FBetaScore FalseNegatives FalsePositives Hinge IoU KLDivergence
    LogCoshError Mean MeanAbsoluteError MeanAbsolutePercentageError MeanIoU MeanMetricWrapper MeanRelativeError
    MeanSquaredError MeanSquaredLogarithmicError MeanTensor Metric OneHotIoU OneHotMeanIoU Poisson Precision
    PrecisionAtRecall PyMetric R2Score Recall RecallAtPrecision Reduce RootMeanSquaredError SensitivityAtSpecificity
    SensitivitySpecificityBase SparseCategoricalAccuracy SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy
    SpecificityAtSensitivity SquaredHinge Sum SumOverBatchSize SumOverBatchSizeMetricWrapper TopKCategoricalAccuracy
    TrueNegatives TruePositives
    """
)
"""The classes in `tf_keras.metrics`, from which TFMA takes what it does not register."""

KNOWN = TFMAS | KERAS
"""All of them."""
