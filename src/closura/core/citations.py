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
