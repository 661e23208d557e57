"""Noise: what distances come to without drift, beside samples drawn and compared one by one."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from pilotline.tasks.stats.distances import Shares, jensen_shannon, psi
from pilotline.tasks.stats.noise import (
    noise_of_share,
    noise_of_shares,
    noise_of_shift,
    noise_of_wasserstein,
)

EQUAL = np.full(20, 0.05)


def test_noise_of_jensen_shannon_is_the_closed_form() -> None:
    # E[JS^2] = (k-1) / (8 ln 2) (1/n + 1/m) for k categories that all come often
    (noise,) = noise_of_shares([jensen_shannon], EQUAL, (20_000, 5_000), 0.99)
    expected = np.sqrt(19 / (8 * np.log(2)) * (1 / 20_000 + 1 / 5_000))
    assert noise.expected == pytest.approx(expected, rel=0.03)
    assert expected < noise.limit < 2 * expected


def test_noise_of_psi_is_the_closed_form() -> None:
    # E[PSI] = (k-1) (1/n + 1/m): Yurdakul and Naranjo (2020), Journal of Risk Model Validation
    (noise,) = noise_of_shares([psi], EQUAL, (20_000, 5_000), 0.99)
    assert noise.expected == pytest.approx(19 * (1 / 20_000 + 1 / 5_000), rel=0.05)


def test_noise_over_many_categories_is_the_closed_form() -> None:
    (noise,) = noise_of_shares([jensen_shannon], np.full(1_000, 1e-3), (200_000, 100_000), 0.99)
    expected = np.sqrt(999 / (8 * np.log(2)) * (1 / 200_000 + 1 / 100_000))
    assert noise.expected == pytest.approx(expected, rel=0.02)
    assert noise.expected < noise.limit < 1.2 * noise.expected


@pytest.mark.parametrize("name", ["normal", "exponential", "few"])
def test_noise_of_wasserstein_is_that_of_drawn_windows(name: str) -> None:
    random = np.random.default_rng(5)
    places = np.arange(5.0) if name == "few" else np.linspace(0, 8, 1_000)
    shares = np.exp(-places if name == "exponential" else -((places - 4) ** 2) / 2)
    shares /= shares.sum()
    rows = (4_000, 1_000)
    std = np.sqrt((shares * places**2).sum() - (shares * places).sum() ** 2)
    drawn = [
        wasserstein_distance(*(random.choice(places, count, p=shares) for count in rows)) / std
        for _ in range(400)
    ]
    noise = noise_of_wasserstein(shares, places, rows, 0.99)
    assert noise.expected == pytest.approx(np.mean(drawn), rel=0.08)
    assert noise.limit == pytest.approx(np.quantile(drawn, 0.99), rel=0.15)


def test_a_constant_column_is_not_noisy() -> None:
    noise = noise_of_wasserstein(np.array([1.0, 0.0]), np.array([3.0, 4.0]), (10, 10), 0.99)
    assert (noise.expected, noise.limit) == (0.0, 0.0)


@pytest.mark.parametrize("rows", [(900, 300), (90_000, 300), (90_000, 30_000)])
def test_noise_is_that_of_pairs_drawn_one_after_the_other_whatever_was_asked_before(
    rows: tuple[int, int],
) -> None:
    for other in (7, 300, 3_000):  # other windows of the same reference
        noise_of_shares([psi], EQUAL, (rows[0], other), 0.99)
    random = np.random.default_rng(0)

    def draw(count: int) -> Shares:
        if count * 0.05 < 50:
            drawn: Shares = random.multinomial(count, EQUAL, size=400) / count
            return drawn
        free = random.standard_normal((400, 20)) * np.sqrt(EQUAL)
        bound = free - EQUAL * free.sum(axis=1, keepdims=True)
        normal: Shares = EQUAL + bound / np.sqrt(count)
        return normal

    found = psi(draw(rows[0]), draw(rows[1]))
    (noise,) = noise_of_shares([psi], EQUAL, rows, 0.99)
    assert (noise.expected, noise.limit) == (found.mean(), np.quantile(found, 0.99))


def test_noise_of_a_share_is_the_binomial_one() -> None:
    # A mean of 0.1, a standard deviation of sqrt(0.1 * 0.9 / 1000) = 0.0095
    one = noise_of_share(0.1, 1_000, 0.99)
    assert one.expected == pytest.approx(0.1, abs=0.002)
    assert one.limit == pytest.approx(0.1 + 2.326 * 0.0095, abs=0.003)
    # The gap of two: sqrt(2 / pi) sqrt(2) 0.0095
    assert noise_of_shift(0.1, (1_000, 1_000), 0.99).expected == pytest.approx(0.0107, rel=0.1)
