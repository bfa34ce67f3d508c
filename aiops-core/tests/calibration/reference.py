"""Figures of aiops_core::calibration by an implementation that shares nothing with it: numpy, scipy and
scikit-learn over plain arrays. Prints the fixture of `the_figures_equal_an_independent_implementation`:

    pip install numpy scipy scikit-learn
    python3 reference.py > figures.json

The cases come from SplitMix64, so that every machine prints the same bytes. scikit-learn gives the Brier score and
the area under the ROC curve, scipy the Clopper-Pearson bound; bins, intervals, curves and the bootstrap are written
out here from their definitions.
"""

import json

import numpy as np
from scipy.stats import beta, norm
from sklearn.metrics import brier_score_loss, roc_auc_score

MASK = (1 << 64) - 1
BINS = 10
RESAMPLES = 1000


def splitmix(seed):
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def uniform(stream):
    return (next(stream) >> 11) / (1 << 53)


def made(name, seed, n, confidence, truth):
    """n cases: confidence(u) of a uniform number, right with the chance truth(confidence)."""
    stream = splitmix(seed)
    c = np.array([confidence(uniform(stream)) for _ in range(n)])
    y = np.array([1 if uniform(stream) < truth(x) else 0 for x in c])
    return name, c, y


def bins_of(c):
    """The bin of each case: of the rank of the first case of its confidence, among all."""
    first = np.searchsorted(np.sort(c), c, side="left")
    return first * BINS // len(c)


def ece(c, y):
    b = bins_of(c)
    return float(sum(np.mean(b == k) * abs(c[b == k].mean() - y[b == k].mean()) for k in np.unique(b)))


def ece_interval(c, y, seed):
    order = np.lexsort((y, c))
    c, y = c[order], y[order]
    stream, n = splitmix(seed), len(c)
    values = []
    for _ in range(RESAMPLES):
        drawn = np.array([(next(stream) * n) >> 64 for _ in range(n)])
        values.append(ece(c[drawn], y[drawn]))
    return np.percentile(values, [2.5, 97.5]).tolist()


def wilson(k, n):
    z = norm.ppf(0.975)
    p = k / n
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [max(0.0, (p + z * z / (2 * n) - half) / (1 + z * z / n)),
            min(1.0, (p + z * z / (2 * n) + half) / (1 + z * z / n))]


def clopper_pearson(k, n):
    return 1.0 if k == n else float(beta.ppf(0.95, k + 1, n - k))


def brier(c, y):
    b, base = bins_of(c), y.mean()
    reliability = resolution = within = 0.0
    for k in np.unique(b):
        f, o, w = c[b == k], y[b == k], np.mean(b == k)
        reliability += w * (f.mean() - o.mean()) ** 2
        resolution += w * (o.mean() - base) ** 2
        within += (((f - f.mean()) ** 2).sum() - 2 * ((o - o.mean()) * (f - f.mean())).sum()) / len(c)
    return {"score": float(brier_score_loss(y, c)) if len(set(y)) == 2 else float(((c - y) ** 2).mean()),
            "reliability": reliability, "resolution": resolution, "uncertainty": base * (1 - base), "within": within}


def aurc(c, y):
    """Each wrong case counts as the mean of its ties: their order among themselves is not known."""
    wrong = np.array([(1 - y[c == x]).mean() for x in c])[np.argsort(-c, kind="stable")]
    return float((np.cumsum(wrong) / np.arange(1, len(c) + 1)).mean())


def curve(c, y):
    return [[float(t), int((c >= t).sum()), int((1 - y[c >= t]).sum())] for t in sorted(set(c), reverse=True)]


def advice(c, y, wanted):
    fits = [t for t, n, k in curve(c, y) if clopper_pearson(k, n) <= wanted]
    needed = int(np.ceil(np.log(0.05) / np.log1p(-wanted)))
    return float(min(fits)) if fits else ("too_few" if len(c) < needed else "out_of_reach")


def figures(name, c, y, seed):
    b, threshold = bins_of(c), 0.7
    passed = c >= threshold
    n, k = int(passed.sum()), int((1 - y[passed]).sum())
    table = [[float(c[b == j].min()), float(c[b == j].max()), int((b == j).sum()), int(y[b == j].sum()),
              float(c[b == j].mean()), float(y[b == j].mean()), *wilson(y[b == j].sum(), (b == j).sum())]
             for j in np.unique(b)]
    return {
        "name": name, "seed": seed, "threshold": threshold,
        "cases": [[float(x), bool(r)] for x, r in zip(c, y)],
        "brier": brier(c, y), "ece": ece(c, y), "ece_interval": ece_interval(c, y, seed), "reliability": table,
        "auroc": float(roc_auc_score(y, c)) if len(set(y)) == 2 else None,
        "risk_coverage": curve(c, y), "aurc": aurc(c, y),
        "at_threshold": [n, k, n / len(c), k / n if n else None, *(wilson(k, n) if n else [0.0, 1.0])],
        "sd": float(c.std()), "advice": {str(w): advice(c, y, w) for w in (0.05, 0.1, 0.2, 0.4)},
    }


sets = [
    made("calibrated, 200 different confidences", 1, 200, lambda u: u, lambda c: c),
    made("overconfident, in steps of 0.1", 2, 97, lambda u: round(0.4 + 0.6 * u, 1), lambda c: c - 0.25),
    made("good and sure", 3, 150, lambda u: round(0.5 + 0.5 * u, 3), lambda c: 0.98 if c > 0.7 else 0.5),
    made("always 0.9", 4, 40, lambda u: 0.9, lambda c: 0.8),
    made("all right", 5, 30, lambda u: round(u, 2), lambda c: 2.0),
    made("all wrong", 6, 12, lambda u: round(u, 2), lambda c: -1.0),
    made("two cases", 7, 2, lambda u: u, lambda c: 0.5),
    made("one case", 8, 1, lambda u: u, lambda c: 2.0),
    made("next to none passes", 9, 64, lambda u: 0.72 * u, lambda c: c),
]
bounds = [[k, n, clopper_pearson(k, n)] for k, n in
          [(0, 1), (0, 28), (0, 29), (1, 45), (1, 46), (2, 60), (2, 61), (5, 50), (7, 9), (40, 400), (500, 5000),
           (3, 5000), (1000, 20000), (50000, 100000), (3, 3)]]
shares = [[k, n, *wilson(k, n)] for k, n in [(0, 1), (1, 1), (0, 20), (7, 9), (45, 50), (1000, 20000)]]
print(json.dumps({"sets": [figures(name, c, y, seed) for seed, (name, c, y) in enumerate(sets, 11)],
                  "error_bounds": bounds, "wilson": shares}, separators=(",", ":")))
