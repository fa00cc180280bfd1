"""What may be another one in an exercise: for each, a function that draws constants and says which text they change.

A rule gets a `random.Random` and returns old text -> new text for the five cells of its exercise: statement, solution,
check, hint, wrong answers. Each old text must stand in them, and is replaced wherever it does. The new task must be
one that the published solution fails; `variants.py` proves it.
"""


def bits_of_a_value(draw):
    """compression: values of another number of bits."""
    bits = draw.choice((8, 16, 64))
    return {
        "as 32-bit numbers": f"as {bits}-bit numbers",
        "values of 32 bits each": f"values of {bits} bits each",
        "32 * length": f"{bits} * length",
        "one value as one 32-bit token": f"one value as one {bits}-bit token",
        "answer(1, 1, 2**32)": f"answer(1, 1, 2**{bits})",
        "above: L 60": "chapter 0: L 60",
        "25.6": f"{bits * 60 / (15 * 5)!r}",
        "20.48": f"{bits * 128 / (40 * 5)!r}",
        "exact = 32 * 128": f"exact = {bits} * 128",
        "60 values take 60 · 32 bits": f"60 values take 60 · {bits} bits",
    }


def deviation_and_gaps(draw):
    """scale_with_gaps: another denominator, another number in the gaps."""
    fill, sample = draw.choice((-2, -1, 1, 2)), draw.choice((False, True))
    number = "one deviation" if abs(fill) == 1 else "two deviations"
    side = f"{number} {'above' if fill > 0 else 'below'} the mean"
    replaced = {
        "then put 0, the mean, into the gaps. This is": f"then fill the gaps with {fill} ({side}; the",
        "what the reference does with its data.": "reference takes 0).",
        "gaps become 0": f"gaps become {fill}",
        "nan_to_num(nan=0.0) for": f"nan_to_num(nan={fill}.0) for",
        "[[[-4.0, -2.0, 0.0, 0.0]], [[0.0, 2.0,": f"[[[-4.0, -2.0, {fill} * root, 0.0]], [[{fill} * root, 2.0,",
        "[[[0.0, 54.0, 0.0, -6.0]]]": f"[[[0.0, 54.0, {fill} * root, -6.0]]]",
    }
    if sample:
        replaced |= {
            "*population* standard deviation (denominator: the number of values)": "*sample* standard deviation "
            "(denominator: the number of values minus one)",
            "values.std(correction=0)": "values.std(correction=1)",
            "math.sqrt(16 / 3)": "math.sqrt(32 / 5)",
            "divides by the number of values minus one (the default of torch)": "divides by the number of values",
            "values.std())": "values.std(correction=0))",
        }
    return replaced


def counted_start(draw):
    """code_after: the start of a code is counted."""
    count = draw.choice((2, 3, 5, 8))
    return {
        "with sum $e_0$ and count 0, as in the package": f"with sum ${count} e_0$ and count {count} (in the package: "
        "$e_0$ and 0)",
        "so that its first stride does\nnot throw it more than $|e_0|/10$ away from $\\bar z$": "to cover "
        "at least nine tenths of its way to\n"
        "$\\bar z$ in its first step",
        "count = hits * (1 - faded)\n": f"count = {count} * faded + hits * (1 - faded)\n",
        "total = faded * start + (1": f"total = {count} * faded * start + (1",
        "code_sum.copy_(quantizer.codebook)": f"code_sum.copy_({count} * quantizer.codebook)\n"
        f"        quantizer.code_count.fill_({count})",
        "At t = 1 the code is the mean of the latents plus 9 e_0 / n, and 9 / n is at": "At t = 1 the start has the "
        f"share {0.9 * count:g} / ({0.9 * count:g} + 0.1 n), which is at",
        "n = 90 hits": f"n = {81 * count} hits",
    }


def places_of_cuts(draw):
    """p_three_unchanged: cuts fall on other places."""
    if draw.choice((False, True)):
        return {
            "uniform in $0 \\dots L-1$": "uniform in $1 \\dots L-1$",
            "L, at least 1": "L, at least 2",
            "three = (length - 1) * (length - 2) / length**2": "three = (length - 2) / (length - 1)",
            "two = 3 * (length - 1) / length**2": "two = 1 / (length - 1)",
            "one = 1 / length**2": "one = 0  # a cut is never at an end",
            "product(range(length), repeat=2)": "product(range(1, length), repeat=2)",
            '"one step only", answer(1), 1.0': '"two steps", answer(2), 0.5',
            "a series of one step cannot change": "both cuts fall on the same place",
            "Two pieces: both cuts on one place": "Two pieces: both cuts on one place.",
            "that is not 0, or exactly one of them on 0. ": "",
        }
    return {
        "uniform in $0 \\dots L-1$": "uniform in $0 \\dots L$",
        "three = (length - 1) * (length - 2) / length**2": "three = (length - 1) * (length - 2) / (length + 1) ** 2",
        "two = 3 * (length - 1) / length**2": "two = 5 * (length - 1) / (length + 1) ** 2",
        "one = 1 / length**2": "one = 4 / (length + 1) ** 2",
        "product(range(length), repeat=2)": "product(range(length + 1), repeat=2)",
        "that is not 0, or exactly one of them on 0. ": "inside, or exactly one of them at an end. ",
    }


def moment_of_codes(draw):
    """features_of_tokens: another mean over the grid."""
    words, power = draw.choice((("squares", "**2"), ("cubes", "**3"), ("absolute values", ".abs()")))
    return {
        "Compute the features of series from": "Here the features of a series are the means, over its grid, of the "
        f"*{words}* of what its code vectors hold. Compute them from",
        "Mean code vector of each series": f"Mean of the {words} of the code vectors of each series",
        "manual_seed(3)": f"manual_seed({draw.randrange(100, 1000)})",
        "@ codebook": f"@ codebook{power}",
        "codebook[row].mean(dim=0)": f"(codebook[row]{power}).mean(dim=0)",
    }


def schedule(draw):
    """probability_share_above: another share of t."""
    latex, text, code, answer, advice = draw.choice(
        (
            ("1 - t^2", "1 - t^2", "1 - t**2", "math.sqrt(1 - s)", "The share falls"),
            ("(1 - t)^2", "(1 - t)^2", "(1 - t) ** 2", "1 - math.sqrt(s)", "The share falls"),
            ("1 - t^3", "1 - t^3", "1 - t**3", "(1 - s) ** (1 / 3)", "The share falls"),
            ("1 - \\sin(\\pi t / 2)", "1 - sin(pi t / 2)", "1 - torch.sin(math.pi / 2 * t)",
             "2 / math.pi * math.asin(1 - s)", "The share falls"),
        )
    )  # fmt: skip
    return {
        "$\\cos(\\pi t/2)$": f"${latex}$",
        "P(cos(pi t / 2) > s)": f"P({text} > s)",
        "at which the cosine is s; on which side of it is the cosine larger": "at which the share is s; on which side "
        "of it is the share larger",
        "return 2 / math.pi * math.acos(s)": f"return {answer}",
        "torch.cos(math.pi / 2 * t)": code,
        "for which t is the cosine larger than s?": "for which t is the share larger than s?",
        "The cosine falls": advice,
        "Solve cos(pi t / 2) = s": f"Solve {text} = s",
        "return 1 - 2 / math.pi * math.acos(s)": f"return 1 - ({answer})",
    }


def guidance(draw):
    """guided: guidance with other weights of the two answers."""
    latex, code = draw.choice((("(1 + s)", "(1 + s)"), ("2s", "(2 * s)"), ("(2 + s)", "(2 + s)"), ("3s", "(3 * s)")))
    return {
        "$l = l_0 + s\\,(l_c - l_0)$": f"$l = l_0 + {latex}\\,(l_c - l_0)$",
        "for $s > 1$": "for $s = 2$",
        "p_class**s * p_none ** (1 - s)": f"p_class ** {code} * p_none ** (1 - {code})",
        "none + s * (with_class - none)": f"none + {code} * (with_class - none)",
        "manual_seed(6)": f"manual_seed({draw.randrange(100, 1000)})",
        "exp(a + s (b - a)) = exp(b)^s exp(a)^(1 - s)": "exp(a + c (b - a)) = exp(b)^c exp(a)^(1 - c) for any number c",
    }


def range_of_features(draw):
    """scale_features: features fill another range."""
    low, high = draw.choice(((0, 1), (0, 10), (-2, 2), (-3, 1), (0, 4)))

    def at(value):
        return repr(low + (value + 1) / 2 * (high - low))

    return {
        "-1..1": f"{low}..{high}",
        "where -1 and 1 lie": f"where {low} and {high} lie",
        "2 * (z - low) / size - 1": f"{high - low} * (z - low) / size + ({low})",
        "[[-1.0, 0, -1], [1, 0, 1], [0, 0, -1]]": f"[[{at(-1)}, 0, {at(-1)}], [{at(1)}, 0, {at(1)}], "
        f"[{at(0)}, 0, {at(-1)}]]",
        "[[2.0, 0, 0], [0, 0, -1]]": f"[[{at(2)}, 0, {at(0)}], [{at(0)}, 0, {at(-1)}]]",
        "becomes -1, its largest 1": f"becomes {low}, its largest {high}",
        "z.clamp(-1, 1)": f"z.clamp({low}, {high})",
    }


def second_sample_scaled(draw):
    """expected_shift: the rows of the second sample are multiplied by a number."""
    factor = draw.choice((2, 3, 4))
    return {
        "come from the *same* distribution with covariance $S$.": "come from the *same* distribution with mean 0 and "
        f"covariance $S$; then each row of the second is multiplied by {factor}.",
        "from one distribution.": f"from one distribution of mean 0, the second times {factor}.",
        "number of rows of each sample": f"number of rows of each sample; those of m rows are multiplied by {factor}",
        "(1 / n + 1 / m)": f"(1 / n + {factor**2} / m)",
        "((a - b) ** 2)": f"((a - {factor} * b) ** 2)",
        "manual_seed(2)": f"manual_seed({draw.randrange(100, 1000)})",
    }


def gap_between_splits(draw):
    """split_windows: train and test windows keep a distance."""
    gap = draw.choice((2, 3, 4, 5))
    return {
        "if none of the test windows may share a step with a train window?": f"if at least {gap} steps of the "
        "recording must lie between them, in neither?",
        "gets a fifth of all windows, rounded down": "gets a share `holdout` of all windows, rounded down",
        "window that shares a step with a test window is": "window that comes nearer to a test window is",
        "train windows have to end before the first test window starts": "where do train windows have to end?",
        "train * stride + length <=": f"train * stride + length + {gap} <=",
        "max(w) < start": f"max(w) + {gap} < start",
        "where does the last train window end?": "where does the last train window end, and how far is that from test?",
    }


def distance_to_neighbours(draw):
    """density: another summary of the k nearest distances."""
    if draw.choice((False, True)):
        return {
            "the mean Euclidean distance": "the Euclidean distance",
            "to its $k$ nearest rows of a reference": "to the $k$-th nearest row of a reference",
            "Mean distance to the k nearest rows of": "Distance to the k-th nearest row of",
            "[:, :k].mean(axis=1)": "[:, k - 1]",
            "[2.0, 1.5, 2.5, 5.0]": "[3.0, 2.0, 3.0, 6.0]",
            "[45.0, 45.0, 45.1]": "[47.0, 47.0, 47.1]",
            "plane[:1], k=3), [2.0]": "plane[:1], k=3), [5.0]",
            "mean, not sum": "the second of the two",
            "the mean of k Euclidean distances": "the last of k Euclidean distances",
        }
    return {
        "the mean Euclidean distance": "the mean *squared* Euclidean distance",
        "Mean distance to the k nearest": "Mean squared distance to the k nearest",
        "np.sort(distance, axis=1)": "np.sort(distance**2, axis=1)",
        "[2.0, 1.5, 2.5, 5.0]": "[5.0, 2.5, 6.5, 26.0]",
        "[45.0, 45.0, 45.1]": f"[{(43**2 + 47**2) / 2!r}, {(43**2 + 47**2) / 2!r}, {(43.1**2 + 47.1**2) / 2!r}]",
        "plane[:1], k=3), [2.0]": f"plane[:1], k=3), [{26 / 3!r}]",
        "k=1), [0.0, 0.0, 2.0]": "k=1), [0.0, 0.0, 4.0]",
        "the mean of k Euclidean distances": "the mean of k squared Euclidean distances",
    }


RULES = {  # by the name of the function that the learner writes
    "compression": bits_of_a_value,
    "scale_with_gaps": deviation_and_gaps,
    "code_after": counted_start,
    "p_three_unchanged": places_of_cuts,
    "features_of_tokens": moment_of_codes,
    "probability_share_above": schedule,
    "guided": guidance,
    "scale_features": range_of_features,
    "expected_shift": second_sample_scaled,
    "split_windows": gap_between_splits,
    "density": distance_to_neighbours,
}
