"""The update rules of the classics as they are printed; the others are read from their docstrings."""

_MOMENTS = (
    r"m_t = \beta_1 m_{t-1} + (1-\beta_1)\,g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2)\,g_t^2, \qquad "
    r"\hat m_t = \frac{m_t}{1-\beta_1^t}, \quad \hat v_t = \frac{v_t}{1-\beta_2^t}"
)
FORMULAS = {
    "sgd": r"m_t = \mu\, m_{t-1} + g_t, \qquad u_t = -\eta\, m_t \qquad (\mu = 0 \text{ without momentum})",
    "adam": rf"\begin{{gathered}} {_MOMENTS} \\ u_t = -\eta\, \frac{{\hat m_t}}{{\sqrt{{\hat v_t}} + \epsilon}} \end{{gathered}}",
    "adamw": rf"\begin{{gathered}} {_MOMENTS} \\ u_t = -\eta \left( \frac{{\hat m_t}}{{\sqrt{{\hat v_t}} + \epsilon}} + \lambda\, p_t \right) \end{{gathered}}",
    "nadam": r"u_t = -\eta\, \frac{\beta_1 \frac{m_t}{1-\beta_1^{t+1}} + (1-\beta_1) \frac{g_t}{1-\beta_1^t}}{\sqrt{\hat v_t} + \epsilon}",
    "nadamw": r"u_t = -\eta \left( \frac{\beta_1 \frac{m_t}{1-\beta_1^{t+1}} + (1-\beta_1) \frac{g_t}{1-\beta_1^t}}{\sqrt{\hat v_t} + \epsilon} + \lambda\, p_t \right)",
    "rmsprop": r"v_t = \beta v_{t-1} + (1-\beta)\,g_t^2, \qquad u_t = -\eta\, \frac{g_t}{\sqrt{v_t + \epsilon}}",
    "adagrad": r"s_t = s_{t-1} + g_t^2, \qquad u_t = -\eta\, \frac{g_t}{\sqrt{s_t + \epsilon}}",
    "adadelta": r"v_t = \rho v_{t-1} + (1-\rho) g_t^2, \qquad d_t = \sqrt{\frac{x_{t-1}+\epsilon}{v_t + \epsilon}}\; g_t, \qquad x_t = \rho x_{t-1} + (1-\rho) d_t^2, \qquad u_t = -\eta\, d_t",
    "adamax": r"n_t = \max(\beta_2 n_{t-1},\, |g_t| + \epsilon), \qquad u_t = -\frac{\eta}{1-\beta_1^t}\, \frac{m_t}{n_t}",
    "amsgrad": r"\bar v_t = \max(\bar v_{t-1}, \hat v_t), \qquad u_t = -\eta\, \frac{\hat m_t}{\sqrt{\bar v_t} + \epsilon}",
    "lion": r"u_t = -\eta \left( \operatorname{sign}(\beta_1 m_{t-1} + (1-\beta_1) g_t) + \lambda\, p_t \right), \qquad m_t = \beta_2 m_{t-1} + (1-\beta_2) g_t",
    "sign_sgd": r"u_t = -\eta\, \operatorname{sign}(g_t)",
    "muon": r"m_t = \beta m_{t-1} + (1-\beta) g_t, \qquad O_t = U V^\top \text{ where } m_t = U \Sigma V^\top, \qquad u_t = -\eta \left(\sqrt{\max(1, \tfrac{\text{outputs}}{\text{inputs}})}\; O_t + \lambda\, p_t\right)",
    "lamb": r"d_t = \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon} + \lambda\, p_t, \qquad u_t = -\eta\, \frac{\lVert p_t \rVert}{\lVert d_t \rVert}\; d_t",
    "lars": r"d_t = g_t + \lambda\, p_t, \qquad m_t = \mu\, m_{t-1} + \eta\, c\, \frac{\lVert p_t \rVert}{\lVert d_t \rVert}\; d_t, \qquad u_t = -m_t",
    "shampoo": r"L_t = \beta_2 L_{t-1} + (1-\beta_2)\, G_t G_t^\top, \qquad R_t = \beta_2 R_{t-1} + (1-\beta_2)\, G_t^\top G_t, \qquad U_t = -\eta\, L_t^{-1/4}\, M_t\, R_t^{-1/4}",
}  # fmt: skip
