# SPDX-License-Identifier: MIT
"""The scikit-learn estimator: what it learns, and that scikit-learn's tools accept it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cheep.errors import CheepError
from cheep.hdc import HdcConfig
from cheep.hdc.core import CoreHdc
from cheep.hdc.estimator import HdcClassifier


def blobs(seed: int = 0, n: int = 60, dims: int = 24, classes: int = 4, noise: float = 1.0):
    """Classes that lie around random points, as float."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(classes, dims)) * 1.5
    y = np.arange(n * classes) % classes
    return centers[y] + noise * rng.normal(size=(len(y), dims)), np.array([f"class{i}" for i in y])


@parametrize_with_checks(
    [
        HdcClassifier(hyper=256, epochs=3),
        HdcClassifier(hyper=256, projection="gaussian", similarity="dot"),
        HdcClassifier(hyper=256, projection="gaussian", form="binary"),
    ]
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def test_one_bit_of_a_sign_projection_sees_few_directions_of_two_values():
    """Why the binary form is checked with a Gaussian projection: scikit-learn's examples have two values.

    Signs of +-a +-b have at most eight patterns; 64 values have 2^63 such directions, and nothing of this.
    """
    x = np.random.default_rng(0).normal(size=(400, 2))
    y = (x[:, 0] > 0).astype(int)
    codes = [
        len(np.unique(HdcClassifier(hyper=256, form="binary", projection=kind).fit(x, y)._encode(x), axis=0))
        for kind in ("bipolar", "hadamard", "gaussian")
    ]
    assert codes[0] <= 9 and codes[1] <= 9 and codes[2] > 100


@pytest.mark.parametrize("form", ["int8", "bipolar", "binary"])
@pytest.mark.parametrize("projection", ["gaussian", "bipolar", "hadamard"])
def test_it_separates_what_can_be_separated(form, projection):
    x, y = blobs()
    xt, yt = blobs(seed=1)
    classifier = HdcClassifier(hyper=1024, form=form, projection=projection).fit(x, y)
    assert classifier.score(xt, yt) > 0.97


def test_refinement_helps_where_classes_share_a_strong_variation():
    """Bundling alone takes the shared directions for part of each class."""

    def shared(seed: int):
        x, y = blobs(seed, n=80, dims=32, classes=6)
        directions = np.random.default_rng(7).normal(size=(4, 32))
        return x + 2 * np.random.default_rng(seed + 50).normal(size=(len(x), 4)) @ directions, y

    plain = HdcClassifier(hyper=1024, epochs=0).fit(*shared(0)).score(*shared(1))
    refined = HdcClassifier(hyper=1024, epochs=20).fit(*shared(0)).score(*shared(1))
    assert refined > plain + 0.05


def test_partial_fit_bundles_as_fit_does():
    x, y = blobs()
    parts = HdcClassifier(hyper=512, epochs=0, normalize="none")
    whole = HdcClassifier(hyper=512, epochs=0, normalize="none").fit(x, y)
    parts.partial_fit(x, y, classes=np.unique(y))
    assert np.array_equal(parts.prototypes_, whole.prototypes_)
    again = HdcClassifier(hyper=512, epochs=0).partial_fit(x[:80], y[:80])
    before = again.sums_.copy()
    again.partial_fit(x[80:], y[80:])
    assert (again.sums_ != before).any() and again.counts_.sum() == len(y)


def test_partial_fit_takes_new_classes_later():
    x, y = blobs()
    old = np.isin(y, ["class0", "class2"])
    classifier = HdcClassifier(hyper=512).partial_fit(x[old], y[old])
    classifier.partial_fit(x[~old], y[~old])
    assert classifier.classes_.tolist() == ["class0", "class1", "class2", "class3"]
    assert classifier.score(x, y) > 0.95


def test_same_seed_same_prototypes_other_seed_others():
    x, y = blobs()
    one, two, other = (HdcClassifier(hyper=256, seed=s).fit(x, y).prototypes_ for s in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_model_predicts_what_the_estimator_and_the_core_predict():
    x, y = blobs()
    classifier = HdcClassifier(hyper=512).fit(x, y)
    model = classifier.model()
    q = model.quantize(x)
    assert np.array_equal(classifier.classes_[model.predict(q)], classifier.predict(x))
    assert np.array_equal(CoreHdc(model).scores(q[:20]).argmax(axis=1), model.predict(q[:20]))
    unknown = model.predict(q, unknown=True) == -1
    assert 0 < unknown.mean() < 0.1  # reject_quantile 0.02, other classes may still pass


def test_tools_compose():
    x, y = blobs()
    pipeline = make_pipeline(StandardScaler(), HdcClassifier(hyper=256, epochs=2))
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.9
    search = GridSearchCV(HdcClassifier(epochs=0), {"hyper": [256, 512], "form": ["int8", "binary"]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.9
    assert clone(search.best_estimator_).get_params()["hyper"] in (256, 512)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hyper": 1000}, r"hyper=1000: must be a multiple of 256 \(such as 1024\)"),
        ({"similarity": "hamming"}, "compares bits"),
        ({"projection": "gausian"}, "projection"),
        ({"margin": -1}, "margin"),
    ],
)
def test_wrong_settings_say_why(options, message):
    with pytest.raises(CheepError, match=message):
        HdcConfig.parse(options)
    with pytest.raises(ValueError, match=message):
        HdcClassifier(**options).fit(*blobs())
