"""BibTeX of the publications that several parts of the package stand on."""

CLOSURE_RL = """\
@inproceedings{vonbassewitz2025closure,
  title         = {Closure Discovery for Coarse-Grained Partial Differential Equations
                   Using Grid-based Reinforcement Learning},
  author        = {von Bassewitz, Jan-Philipp and Kaltenbach, Sebastian and Koumoutsakos, Petros},
  booktitle     = {Conference on Parsimony and Learning (CPAL)},
  year          = {2025},
  eprint        = {2402.00972},
  archivePrefix = {arXiv}
}"""

BPTTS = """\
@article{way2022backpropagation,
  title         = {Backpropagation through Time and Space: Learning Numerical Methods with
                   Multi-Agent Reinforcement Learning},
  author        = {Way, Elliot and Kapilavai, Dheeraj S. K. and Fu, Yiwei and Yu, Lei},
  year          = {2022},
  eprint        = {2203.08937},
  archivePrefix = {arXiv}
}"""

LEARNED_FLOW = """\
@article{kochkov2021machine,
  title         = {Machine learning--accelerated computational fluid dynamics},
  author        = {Kochkov, Dmitrii and Smith, Jamie A. and Alieva, Ayya and Wang, Qing and
                   Brenner, Michael P. and Hoyer, Stephan},
  journal       = {Proceedings of the National Academy of Sciences},
  volume        = {118},
  number        = {21},
  year          = {2021},
  doi           = {10.1073/pnas.2101784118}
}"""

EKI = """\
@article{kovachki2019ensemble,
  title         = {Ensemble {Kalman} inversion: a derivative-free technique for machine learning tasks},
  author        = {Kovachki, Nikola B. and Stuart, Andrew M.},
  journal       = {Inverse Problems},
  volume        = {35},
  number        = {9},
  pages         = {095005},
  year          = {2019},
  doi           = {10.1088/1361-6420/ab1c3a}
}"""
