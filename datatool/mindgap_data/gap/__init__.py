"""The policy gap: how likely the policy finds the expert's text and the chosen response, and the weights that follow.

Notation, as in `mindgap_data.importance`: p_t = log pi(y_t | plain prompt), beta_t = log mu(y_t), l_t = p_t - beta_t.

Three sets of weights are compared, each at token, sequence and geometric level:

before
    The expert's text, beta_t = 0, so w = pi(y). Nobody knows the expert's own policy; taking it as certain of
    every token it wrote is what the paper's training and Dynamic Fine-Tuning (arXiv 2508.05629) do.
after
    The chosen responses as the preset `is` weighs them: w = pi / mu where mu is known (self and guided
    rows, expert rows with logged log-probs), w = pi on the other expert rows.
after_dft
    The chosen responses with w = pi throughout, as the preset `paper` weighs them: like for like with "before".
"""
