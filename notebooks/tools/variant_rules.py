"""What may be another one in an exercise: for each, a function that draws constants and says which text they change.

A rule gets a `random.Random` and returns old text -> new text for the five cells of its exercise: statement, solution,
check, hint, wrong answers. Each old text must stand in them, and is replaced wherever it does. The new task must be
one that the published solution fails; `variants.py` proves it. The hint cell may hold the model answer to a question
in words: where the published one does not answer the variant, the rule changes it, too.
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
        "32.0": f"{bits * 60 / (10 * 6)!r}",
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
            "it is at least 0.25 up to L = 11": "it is at least 0.25 up to L = 5",
            "coincide or fall on step 0, and": "coincide, and",
        }
    return {
        "uniform in $0 \\dots L-1$": "uniform in $0 \\dots L$",
        "three = (length - 1) * (length - 2) / length**2": "three = (length - 1) * (length - 2) / (length + 1) ** 2",
        "two = 3 * (length - 1) / length**2": "two = 5 * (length - 1) / (length + 1) ** 2",
        "one = 1 / length**2": "one = 4 / (length + 1) ** 2",
        "product(range(length), repeat=2)": "product(range(length + 1), repeat=2)",
        "that is not 0, or exactly one of them on 0. ": "inside, or exactly one of them at an end. ",
        "it is at least 0.25 up to L = 11": "it is at least 0.25 up to L = 19",
        "coincide or fall on step 0, and": "coincide or fall on an end, and",
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
        "codebook[tokens].mean(dim=1)": f"(codebook[tokens]{power}).mean(dim=1)",
        "codebook.numpy()": f"(codebook{power}).numpy()",
    }


def schedule(draw):
    """probability_share_above: another share of t."""
    latex, text, code, answer, hidden, kept = draw.choice(
        (
            ("1 - t^2", "1 - t^2", "1 - t**2", "math.sqrt(1 - s)", 0.32, 0.051),
            ("(1 - t)^2", "(1 - t)^2", "(1 - t) ** 2", "1 - math.sqrt(s)", 0.051, 0.32),
            ("1 - t^3", "1 - t^3", "1 - t**3", "(1 - s) ** (1 / 3)", 0.46, 0.035),
            ("1 - \\sin(\\pi t / 2)", "1 - sin(pi t / 2)", "1 - torch.sin(math.pi / 2 * t)",
             "2 / math.pi * math.asin(1 - s)", 0.064, 0.29),
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
        "The cosine falls": "The share falls",
        "Solve cos(pi t / 2) = s": f"Solve {text} = s",
        "return 1 - 2 / math.pi * math.acos(s)": f"return 1 - ({answer})",
        "P(share > 0.9) = 2/pi arccos(0.9), about 0.29": f"P(share > 0.9), about {hidden}",
        "with 1 - 2/pi arccos(0.1), about 0.064": f"with a probability of about {kept}",
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
        "[[-1.0, 0, -1, -1, -1], [1, 0, 1, 1, 1], [0, 0, -1, 0, 0]]": f"[[{at(-1)}, 0, {at(-1)}, {at(-1)}, {at(-1)}], "
        f"[{at(1)}, 0, {at(1)}, {at(1)}, {at(1)}], [{at(0)}, 0, {at(-1)}, {at(0)}, {at(0)}]]",
        "[[2.0, 0, 0, -1, 3], [0, 0, -1, -1, -1]]": f"[[{at(2)}, 0, {at(0)}, {at(-1)}, {at(3)}], "
        f"[{at(0)}, 0, {at(-1)}, {at(-1)}, {at(-1)}]]",
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
        "(1 / (n - 1) + 1 / (m - 1))": f"(1 / (n - 1) + {factor**2} / (m - 1))",
        "10, 20, 0.45)": f"10, 20, {3 / 10 + 3 * factor**2 / 20!r})",
        "5, 20, 1.25)": f"5, 20, {5 / 5 + 5 * factor**2 / 20!r})",
        "3, 3, 6.0)": f"3, 3, {9 / 3 + 9 * factor**2 / 3!r})",
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
            "[:, 1 : k + 1].mean(axis=1)": "[:, k]",
            "[2.0, 1.5, 2.5, 5.0]": "[3.0, 2.0, 3.0, 6.0]",
            "[45.0, 45.0, 45.1]": "[47.0, 47.0, 47.1]",
            "[1.0, 2.0, 3.0, 15.0]": "[1.0, 3.0, 5.0, 17.0]",
            "plane[:1], 3, [2.0]": "plane[:1], 3, [5.0]",
            "mean, not sum": "the second of the two",
            "the mean of k Euclidean distances": "the last of k Euclidean distances",
        }
    return {
        "the mean Euclidean distance": "the mean *squared* Euclidean distance",
        "Mean distance to the k nearest": "Mean squared distance to the k nearest",
        "np.sort(distance, axis=1)": "np.sort(distance**2, axis=1)",
        "[2.0, 1.5, 2.5, 5.0]": "[5.0, 2.5, 6.5, 26.0]",
        "[45.0, 45.0, 45.1]": f"[{(43**2 + 47**2) / 2!r}, {(43**2 + 47**2) / 2!r}, {(43.1**2 + 47.1**2) / 2!r}]",
        "[1.0, 2.0, 3.0, 15.0]": "[1.0, 5.0, 13.0, 229.0]",
        "plane[:1], 3, [2.0]": f"plane[:1], 3, [{26 / 3!r}]",
        "None, 1, [0.0, 0.0, 2.0]": "None, 1, [0.0, 0.0, 4.0]",
        "the mean of k Euclidean distances": "the mean of k squared Euclidean distances",
    }


def weights_of_terms(draw):
    """vicreg_of_views: VICReg with other weights."""
    sim, var, cov = draw.choice(((10, 5, 2), (15, 10, 3), (5, 15, 2), (12, 20, 4)))
    return {
        "as in the chapter.": f"as in the chapter, but with the weights {sim}, {var} and {cov} of the three terms.",
        "with the weights 25, 25 and 1": f"with the weights {sim}, {var} and {cov}",
        "return 25 * sim + 25 * var + cov": f"return {sim} * sim + {var} * var + {cov} * cov",
        "vicreg(*views[:2]).total": f"vicreg(*views[:2], {sim}, {var}, {cov}).total",
        "vicreg(a, b).total": f"vicreg(a, b, {sim}, {var}, {cov}).total",
        "manual_seed(6)": f"manual_seed({draw.randrange(100, 1000)})",
        'by one")': 'by one, with these weights")',
        "+ 25 * (s": f"+ {sim} * (s",
        "return 25 * sim + (": f"return {sim} * sim + (",
        "(views) - 25 * sim)": f"(views) - {sim} * sim)",
        "+ 25 * 2 * above": f"+ {var} * 2 * above",
    }


def candidates_of_a_view(draw):
    """nt_xent_matrix: the partner is no term of the sum, or the sum is over the other view only."""
    replaced = {"manual_seed(5)": f"manual_seed({draw.randrange(100, 1000)})"}
    task = "without each view's cosine to itself, and the cross entropy of\nthe partner in each row."
    kept = "cosines[[j for j in range(len(u)) if {}]]"
    if draw.choice((False, True)):
        return replaced | {
            task: "without each view's cosine to itself; then in each row minus the logit\nof the partner plus the log "
            "of the sum of exponentials of all *other* logits: the partner is left out of\nthis sum (NT-Xent has it). "
            "Take the mean over rows.",
            "NT-Xent of the projections of two views.": "NT-Xent of two views, the partner left out of the sum.",
            "    return torch.nn.functional.cross_entropy(cosines, partner)\n": "    partner = partner[:, None]\n"
            "    strangers = cosines.scatter(1, partner, -torch.inf)\n"
            "    return (strangers.logsumexp(dim=1) - cosines.gather(1, partner)[:, 0]).mean()\n",
            "torch.tensor(11.0)": "torch.tensor(10.0)",
            "log(2B - 1)": "log(2B - 2)",
            "log(4B - 1)": "log(4B - 2)",
            "if j != i]": "if j not in (i, (i + 6) % 12)]",
            "torch.cat([cosines[:i], cosines[i + 1 :]])": kept.format("j not in (i, (i + len(a)) % len(u))"),
            "<code>cross_entropy(logits, target)</code> takes the softmax itself.": "<code>logsumexp(dim=1)</code> "
            "takes the exponentials itself.",
            "has\nprobability 0.": "adds\nnothing.",
        }  # fmt: skip
    return replaced | {
        task: "and in each row the cross entropy of the partner among all views of the *other* half:\na view of `a` "
        "chooses from `b`, one of `b` from `a` (in NT-Xent from both).",
        "NT-Xent of the projections of two views.": "NT-Xent of two views, whose candidates are the other half.",
        "    cosines = (u @ u.T / tau).masked_fill(torch.eye(len(u), dtype=torch.bool), -torch.inf)  # (2B, 2B)\n":
        "    half = torch.arange(len(u)) < len(a)\n"
        "    cosines = (u @ u.T / tau).masked_fill(half == half[:, None], -torch.inf)  # (2B, 2B)\n",
        "torch.tensor(11.0)": "torch.tensor(6.0)",
        "log(2B - 1)": "log(B)",
        "log(4B - 1)": "log(2B)",
        "if j != i]": "if i // 6 != j // 6]",
        "torch.cat([cosines[:i], cosines[i + 1 :]])": kept.format("i // len(a) != j // len(a)"),
        "a view is a candidate of the others, too": "a view is a candidate of the other half, too",
    }  # fmt: skip


def divided_scores(draw):
    """temporal_contrast: scores are divided by a number."""
    tau = draw.choice((2, 3, 4, 5))
    return {
        "dot products, without a temperature.": f"dot products divided by {tau}.",
        "both @ both.transpose(1, 2)": f"both @ both.transpose(1, 2) / {tau}",
        "r @ r2.transpose(1, 2)": f"r @ r2.transpose(1, 2) / {tau}",
        "far = [z @ own[t] for": f"far = [z @ own[t] / {tau} for",
        "other[t] @ own[t])": f"other[t] @ own[t] / {tau})",
        'hint="dot products; both directions"': f'hint="dot products over {tau}; both directions"',
    }


def error_of_lines(draw):
    """line_baseline: another error."""
    words, before, after, of_0, of_line = draw.choice(
        (("absolute", "abs(", ")", "0.80", "0.98 to 1.13"), ("fourth power of the", "(", ") ** 4", "3", "6.75 to 12"))
    )
    line = "np.interp(steps[hidden], steps[~hidden], series[~hidden]) - series[hidden]"
    same = "series[a] + part * (series[b] - series[a]) - series[t]"
    return {
        "torch.Generator().manual_seed(3)": f"torch.Generator().manual_seed({draw.randrange(100, 1000)})",
        "and the\nsquared error over all hidden steps": f"and the\nmean {words} error over all hidden steps",
        "Squared error of hidden points": f"Mean {words} error of hidden points",
        "what is the\nexpected error of the line, and what that of the answer 0?": "which has\nthe smaller expected "
        "error, the line or the answer 0?",
        f"squares.append(({line}) ** 2)": f"squares.append({before}{line}{after})",
        f"squares.append(({same}) ** 2)": f"squares.append({before}{same}{after})",
        "squares = [(fill(s, h)[h] - s[h]) ** 2 for": f"squares = [{before}fill(s, h)[h] - s[h]{after} for",
        "((filled - x.numpy())[is_hidden.numpy()] ** 2)": f"({before}(filled - x.numpy())[is_hidden.numpy()]{after})",
        "That of 0 is 1. That of the line lies between 1.5 and 2: to the variance 1\nof the hidden step comes that of "
        "the line itself, w^2 + (1 - w)^2 for weights w and 1 - w of the two neighbours, which\nis 1/2 in the middle "
        "between them, and 1 at a flat end.": "The answer 0. The value of the line has mean 0 and is independent of\n"
        f"the hidden step; to take away such a number never makes the mean {words} error smaller (Jensen).\n"
        f"On normal noise the answer 0 has the error {of_0}, the line {of_line}.",
    }


def unequal_moves(draw):
    """move_gap: one cloud moves further than the other."""
    p = draw.choice((0.25, 0.75, 0.125, 0.875))
    q = 1 - p

    def moved(share):
        a, b = p * share, q * share
        return f"[[{1 - 1.5 * a}, {-0.5 * a}], [{-1.5 * a}, {1 - 0.5 * a}], [{1.5 * b - 1}, {0.5 * b}]]"

    return {
        "each by `share / 2` times the gap, and": f"the first by `{p} * share` times the gap, the second by "
        f"`{q} * share` times, and",
        "- share / 2 * gap": f"- {p} * share * gap",
        "+ share / 2 * gap": f"+ {q} * share * gap",
        "[[2, -2], [-6, 6], [-2, 2]], [[5, -1], [-3, 7], [-5, 1]]": f"{moved(1)}, {moved(0.5)}",
    }


def errors_of_a_mean(draw):
    """settled: a number of standard errors."""
    count = draw.choice((2, 3, 4))
    return {
        "and its standard error with the *seeds* as": f"and {count} times its standard error, with the *seeds* as",
        "and its standard error over seeds.": f"and {count} times its standard error over seeds.",
        "(mean, standard error), two": f"(mean, {count} standard errors), two",
        "/ len(of_seed) ** 0.5": f"/ len(of_seed) ** 0.5 * {count}",
        "stdev(gains.tolist()) / 5**0.5": f"{count} * stdev(gains.tolist()) / 5**0.5",
        '"standard error"': f'"{count} standard errors"',
        "(-0.15, 0.05)": f"(-0.15, {round(0.05 * count, 2)!r})",
        "/ len(d) ** 0.5": f"/ len(d) ** 0.5 * {count}",
        "/ len(a)) ** 0.5": f"/ len(a)) ** 0.5 * {count}",
        "d.std(ddof=1)\n": f"{count} * d.std(ddof=1)\n",
        "it takes (sd / 0.01)^2 of them": f"it takes ({count} sd / 0.01)^2 of them",
        "/ 3**0.5": f"/ 3**0.5 * {count}",
    }


def part_of_the_energy(draw):
    """energy_of_frames: the mean square, or what is left without the mean of a frame."""
    rows, once, expected, words = draw.choice(
        (
            ("2 * inner + power[:, :, -1]) / n_fft", "[:, :, 1:].sum(dim=2) / n_fft",
             "n_fft * frames_of(x, n_fft).var(dim=-1, correction=0)",
             "the sum of the squared\ndeviations of its windowed values from their mean"),
            ("2 * inner + power[:, :, -1]) / n_fft**2", "[:, :, 1:].sum(dim=2) / n_fft**2",
             "frames_of(x, n_fft).var(dim=-1, correction=0)",
             "here the variance of its\nwindowed values (denominator: their number)"),
            ("power[:, :, 0] + 2 * inner + power[:, :, -1]) / n_fft**2", ".sum(dim=2) / n_fft**2",
             "(frames_of(x, n_fft) ** 2).mean(dim=-1)",
             "here the *mean* of its squared\n(windowed) values"),
        )
    )  # fmt: skip
    return {
        "(real**2 + imag**2).sum(dim=2) / (2 * (u.shape[2] - 1))": "(real**2 + imag**2)"
        + once.replace("n_fft", "(2 * (u.shape[2] - 1))"),
        "the sum of its squared\n(windowed) values": words,
        "Energy of each windowed frame.": f"Energy of each windowed frame: {' '.join(words.split())}.",
        "power[:, :, 0] + 2 * inner + power[:, :, -1]) / n_fft": rows,
        "(frames_of(x, n_fft) ** 2).sum(dim=-1)": expected,
        "manual_seed(2)": f"manual_seed({draw.randrange(100, 1000)})",
    }


def rank_of_an_order(draw):
    """effective_rank: the entropy of another order."""
    order = draw.choice((2, 3, 4))

    def rank(shares):
        return f"({shares} ** {order}).sum() ** (1 / {1 - order})"

    return {
        "The *effective rank* is the exponential of the\n": "Here the *effective rank* is that of\n",
        "entropy of the shares, $\\exp(-\\sum_i q_i \\log q_i)$ (after": f"order {order}, $(\\sum_i q_i^{order})^"
        f"{{1 / (1 - {order})}}$ (order 1, the entropy:",
        "who take singular": "of singular",
        "Effective number of directions": f"Effective number (order {order}) of directions",
        "torch.exp(torch.special.entr(shares).sum())": rank("shares"),
        "torch.exp(torch.special.entr(variances / variances.sum()).sum())": rank("(variances / variances.sum())"),
        "torch.exp(torch.special.entr(deviations / deviations.sum()).sum())": rank("(deviations / deviations.sum())"),
        "math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))": f"(0.9**{order} + 0.1**{order}) ** (1 / {1 - order})",
        "torch.prod((s / s.sum()) ** -(s / s.sum()))": rank("(s / s.sum())"),
        "not the diagonal; 0 log 0 is 0": "not the diagonal",
        "a rounding error below 0 has no log": "a rounding error may lie below 0",
        "`torch.special.entr(q)` is -q log q, with 0 at 0.": "First the shares, which sum to 1; then their powers.",
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
    "vicreg_of_views": weights_of_terms,
    "nt_xent_matrix": candidates_of_a_view,
    "temporal_contrast": divided_scores,
    "line_baseline": error_of_lines,
    "move_gap": unequal_moves,
    "settled": errors_of_a_mean,
    "energy_of_frames": part_of_the_energy,
    "effective_rank": rank_of_an_order,
}
