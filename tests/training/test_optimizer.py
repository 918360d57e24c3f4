import keras
import numpy as np
import pytest

from keras_landmarks.training import optimizer, trainer
from keras_landmarks.training.callbacks import AverageLastEpochs, averaged_weights
from keras_landmarks.training.checkpoint import Position


def model_of_one_weight(built):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(built, loss="mse")
    model.layers[0].set_weights([np.array([[1.0]])])
    return model


def train(model, steps):
    """Trains on (w x - 0)^2 at x = 1, whose gradient is 2 w, and returns the weight w."""
    for _ in range(steps):
        model.train_on_batch(np.ones((4, 1)), np.zeros((4, 1)))
    return model.layers[0].get_weights()[0].item()


@pytest.fixture
def own_settings(tiny_settings):
    def make(**changes):
        return tiny_settings.replace(**{"weight_decay": 0.0, **changes})

    return make


def test_sgd_equals_hand_computed_steps(own_settings):
    settings = own_settings(optimizer="sgd", schedule="one_cycle", learning_rate=0.1, epochs=10)
    model = model_of_one_weight(
        optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=1)
    )
    # One cycle of 10 steps: 0, 0.1 / 3, ...; Nesterov's first move is (1 + 0.9) times as long.
    weight = train(model, 2)
    assert weight == pytest.approx(1 - 0.1 / 3 * 2 * 1.9, rel=1e-5)


def test_adamw_decays_weights_but_no_bias(own_settings):
    settings = own_settings(
        optimizer="adamw", schedule="cosine", learning_rate=0.1, weight_decay=0.5
    )
    built = optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=100)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(built, loss="mse")
    model.layers[0].set_weights([np.array([[1.0]]), np.array([1.0])])
    model.train_on_batch(np.zeros((4, 1)), np.ones((4, 1)))  # error and gradients are 0
    weight, bias = model.layers[0].get_weights()
    assert weight.item() == pytest.approx(1 - 0.1 * 0.5, rel=1e-5)
    assert bias.item() == 1


@pytest.mark.parametrize("name", ["adam", "adamw", "muon", "sgd"])
def test_optimisers_train_without_decay(own_settings, name):
    settings = own_settings(optimizer=name, schedule="cosine", learning_rate=0.1)
    model = model_of_one_weight(
        optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=100)
    )
    assert train(model, 3) < 1


# ── Muon ──


@pytest.fixture
def muon(own_settings):
    """Returns Muon with a learning rate of 0.1, for a network whose layer `grouped` has groups."""
    settings = own_settings(optimizer="muon", schedule="cosine", learning_rate=0.1)
    return optimizer.build(settings.optimizer, settings.schedule, 10_000, ["grouped"])


def quintic_steps(value, steps=5):
    for _ in range(steps):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (3, 3, 2, 32), (1, 1, 8, 4)])
def test_muon_moves_singular_values_by_its_polynomial(muon, shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype("float32")
    left, values, right = np.linalg.svd(kernel.reshape(-1, shape[-1]), full_matrices=False)
    moved = quintic_steps(values / np.linalg.norm(values))
    assert 0.6 < moved.min() < moved.max() < 1.3
    result = np.asarray(muon.zeropower_via_newtonschulz5(kernel, 5)).reshape(-1, shape[-1])
    np.testing.assert_allclose(result, left @ np.diag(moved) @ right, atol=1e-4)


def weights_after_a_step(built, make_layer, inputs, targets):
    """Returns the weights of a layer before and after a step on the mean squared error."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(inputs.shape[1:]), make_layer()])
    model.compile(built, loss="mse")
    before = model.get_weights()
    model.train_on_batch(inputs, targets)
    return before, model.get_weights()


def test_muon_turns_kernels_of_convolutions(muon):
    generator = np.random.default_rng(0)
    inputs, targets = generator.normal(size=(16, 1, 1, 4)), generator.normal(size=(16, 1, 1, 8))
    before, after = weights_after_a_step(muon, lambda: keras.layers.Conv2D(8, 1), inputs, targets)
    move = (after[0] - before[0]).reshape(4, 8)
    # 0.2 * sqrt(8), so that the root mean square over 8 outputs of rank 4 is like Adam's.
    values = np.linalg.svd(move, compute_uv=False) / (0.1 * 0.2 * np.sqrt(8))
    assert 0.6 < values.min() < values.max() < 1.3


@pytest.mark.parametrize(
    "make_layer",
    [
        lambda: keras.layers.Dense(4),
        lambda: keras.layers.DepthwiseConv2D(1),
        lambda: keras.layers.Conv2D(4, 1, groups=2, name="grouped"),
    ],
)
def test_muon_is_adamw_elsewhere(own_settings, muon, make_layer):
    inputs = np.random.default_rng(0).normal(size=(16, 3, 3, 4))
    settings = own_settings(optimizer="adamw", schedule="cosine", learning_rate=0.1)
    adamw = optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=10_000)
    (_, own), (_, peer) = (
        weights_after_a_step(built, make_layer, inputs, inputs) for built in (muon, adamw)
    )
    for mine, theirs in zip(own, peer, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4)


def test_muon_decays_kernels_but_no_bias(own_settings):
    settings = own_settings(
        optimizer="muon", schedule="cosine", learning_rate=0.1, weight_decay=0.5
    )
    built = optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=10_000)
    inputs = np.zeros((4, 1, 1, 2))
    before, after = weights_after_a_step(
        built,
        lambda: keras.layers.Conv2D(2, 1, bias_initializer="ones"),
        inputs,
        inputs + 1,  # the bias: no error, no gradient
    )
    np.testing.assert_allclose(after[0], before[0] * (1 - 0.1 * 0.5), rtol=1e-5)
    np.testing.assert_array_equal(after[1], before[1])


# ── every optimiser ──


def test_gradient_norm_is_clipped(own_settings):
    settings = own_settings(
        optimizer="sgd", schedule="cosine", learning_rate=0.1, grad_clip_norm=0.5
    )
    model = model_of_one_weight(
        optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=100)
    )
    assert train(model, 1) == pytest.approx(1 - 0.1 * 0.5 * 1.9, rel=1e-5)


def test_accumulated_steps_update_once(own_settings):
    settings = own_settings(
        optimizer="sgd", schedule="cosine", learning_rate=0.1, grad_accum_steps=3
    )
    model = model_of_one_weight(
        optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=10_000)
    )
    assert train(model, 2) == 1
    assert train(model, 1) == pytest.approx(1 - 0.1 * 2 * 1.9, rel=1e-4)


def test_averaged_weights_are_restored_after(own_settings):
    settings = own_settings(optimizer="sgd", schedule="cosine", learning_rate=0.1, ema_momentum=0.2)
    model = model_of_one_weight(
        optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=10_000)
    )
    weights = [train(model, 1) for _ in range(3)]
    average = weights[0]  # of the first step; then the momentum grows, up to 0.2
    for weight, momentum in zip(weights[1:], [2 / 11, 0.2], strict=True):
        average = momentum * average + (1 - momentum) * weight
    with averaged_weights(model):
        assert model.layers[0].get_weights()[0].item() == pytest.approx(average, rel=1e-6)
    assert model.layers[0].get_weights()[0].item() == weights[-1]
    train(model, 1)  # works: restoring freed no buffer


def test_weights_of_last_epochs_are_averaged(own_settings):
    settings = own_settings(
        optimizer="sgd", schedule="cosine", learning_rate=0.1, average_last_epochs=3
    )
    averaged, stepped = (
        model_of_one_weight(
            optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=10_000)
        )
        for _ in range(2)
    )
    data = np.ones((8, 1)), np.zeros((8, 1))
    options = {"batch_size": 4, "epochs": 5, "verbose": 0, "shuffle": False}
    averaged.fit(*data, **options, callbacks=[AverageLastEpochs(first_epoch=2, steps=2)])
    after_each_epoch = [train(stepped, 2) for _ in range(5)]
    with averaged_weights(averaged):
        average = averaged.layers[0].get_weights()[0].item()
    assert average == pytest.approx(np.mean(after_each_epoch[2:]), rel=1e-6)


def test_fit_ends_with_the_weights_themselves(own_settings):
    settings = own_settings(
        optimizer="sgd", schedule="cosine", learning_rate=0.1, ema_momentum=0.75
    )
    fitted, stepped = (
        model_of_one_weight(
            optimizer.build(settings.optimizer, settings.schedule, steps_per_epoch=10_000)
        )
        for _ in range(2)
    )
    fitted.fit(np.ones((12, 1)), np.zeros((12, 1)), batch_size=4, verbose=0, shuffle=False)
    assert fitted.layers[0].get_weights()[0].item() == pytest.approx(train(stepped, 3), rel=1e-6)


# ── averages under every schedule ──

SCHEDULES = [
    {"schedule": "steps", "reset_optimizer_each_epoch": True},
    {"schedule": "steps", "reset_optimizer_each_epoch": False},
    {"schedule": "cosine", "warmup_epochs": 1.0},
    {"schedule": "restarts"},
    {"schedule": "one_cycle"},
]


class WeightAfterEachStep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(weight_of(self.model))


def weight_of(model):
    return model.layers[0].get_weights()[0].item()


def fit_as_in_training(settings, steps):
    """Returns the weight after each step and the average at the end."""
    model = model_of_one_weight(optimizer.build(settings.optimizer, settings.schedule, steps))
    after_steps = WeightAfterEachStep()
    model.fit(
        np.ones((4 * steps, 1)),
        np.zeros((4 * steps, 1)),
        batch_size=4,
        epochs=settings.schedule.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*trainer.optimizer_callbacks(settings, steps, Position(0)), after_steps],
    )
    with averaged_weights(model):
        return after_steps.values, weight_of(model)


@pytest.mark.parametrize("optimizer_name", ["adam", "adamw", "muon", "sgd"])
@pytest.mark.parametrize(
    "schedule", SCHEDULES, ids=lambda given: "-".join(map(str, given.values()))
)
def test_ema_equals_hand_computed_mean(own_settings, schedule, optimizer_name):
    settings = own_settings(
        optimizer=optimizer_name,
        ema_momentum=0.6,
        learning_rates="0:0.1,1:0.05",
        learning_rate=0.1,
        epochs=3,
        **schedule,
    )
    (average, *weights), kept = fit_as_in_training(settings, steps=4)
    for step, weight in enumerate(weights, start=1):
        momentum = min(0.6, (1 + step) / (10 + step))
        average = momentum * average + (1 - momentum) * weight
    assert kept == pytest.approx(average, rel=1e-5)
    assert kept != pytest.approx(weights[-1], rel=1e-3)


@pytest.mark.parametrize(
    "schedule", SCHEDULES, ids=lambda given: "-".join(map(str, given.values()))
)
def test_epoch_mean_equals_hand_computed_mean(own_settings, schedule):
    settings = own_settings(
        average_last_epochs=3,
        learning_rates="0:0.1,2:0.05",
        learning_rate=0.1,
        epochs=5,
        **schedule,
    )
    weights, kept = fit_as_in_training(settings, steps=4)
    assert kept == pytest.approx(np.mean(weights[11::4]), rel=1e-5)


def test_ema_moves_with_accumulated_updates_only(own_settings):
    settings = own_settings(
        optimizer="sgd", grad_accum_steps=2, ema_momentum=0.6, learning_rates="0:0.1", epochs=2
    )
    weights, kept = fit_as_in_training(settings, steps=4)
    average, *updated = weights[1::2]
    for update, weight in enumerate(updated, start=1):
        momentum = min(0.6, (1 + update) / (10 + update))
        average = momentum * average + (1 - momentum) * weight
    assert kept == pytest.approx(average, rel=1e-5)
