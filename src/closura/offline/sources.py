"""What is cited with evaluations of closures and reduced-order models."""

SOURCE = """\
@article{zighed2025scale,
  title         = {Leveraging Scale Separation and Stochastic Closure for Data-Driven Prediction of Chaotic Dynamics},
  author        = {Zighed, Isma{\\"e}l and Thome, Nicolas and Gallinari, Patrick and Sayadi, Taraneh},
  year          = {2025},
  eprint        = {2510.24583},
  archivePrefix = {arXiv}
}"""
