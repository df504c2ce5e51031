"""The package's own entries of the registries: name, then module and object. Plug-ins use entry points instead."""

ENTRIES: dict[str, dict[str, str]] = {
    "closura.figures": {
        "error_curves": "closura.reporting.figures.curves:error_curves",
        "error_curves_median": "closura.reporting.figures.curves:error_curves_median",
        "error_curves_initial": "closura.reporting.figures.curves:error_curves_initial",
        "mass_error": "closura.reporting.figures.curves:mass_error_curves",
        "improvement": "closura.reporting.figures.improvement:improvement_curves",
        "steps_below_threshold": "closura.reporting.figures.violins:steps_below_threshold_violins",
        "groups": "closura.reporting.figures.failures:group_errors",
        "divergence": "closura.reporting.figures.failures:divergence_curves",
        "cost": "closura.reporting.figures.cost:cost_scatter",
        "fields": "closura.reporting.figures.fields:field_strips",
        "field_errors": "closura.reporting.figures.fields:field_errors",
        "profiles": "closura.reporting.figures.profiles:profiles",
        "actions": "closura.reporting.figures.actions:action_strips",
        "animation": "closura.reporting.figures.animation:animation",
        "correlations": "closura.problems.kolmogorov.figures:correlations",
        "spectra": "closura.problems.kolmogorov.figures:spectra",
        "vorticity": "closura.problems.kolmogorov.figures:vorticity_strips",
        "front": "closura.reporting.benchmark.figures:front_figure",
        "follow": "closura.reporting.benchmark.figures:length_figure",
    },
    "closura.tables": {
        "summary": "closura.reporting.tables:_summary",
        "over-time": "closura.reporting.tables:_over_time",
        "groups": "closura.reporting.tables:_groups",
        "fronts": "closura.reporting.benchmark.tables:_fronts",
        "correlation-times": "closura.problems.kolmogorov.tables:_correlation_times",
        "long-run": "closura.problems.kolmogorov.tables:_long_run",
        "published-figures": "closura.reporting.published_curves:beside_published",
    },
    "closura.numbers": {
        "flow": "closura.problems.kolmogorov.tables:_flow_numbers",
    },
    "closura.publications": {
        "closure-rl-advection": "closura.reproductions.closure_rl_figures:ADVECTION",
        "closure-rl-burgers": "closura.reproductions.closure_rl_figures:BURGERS",
    },
}
