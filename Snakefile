# `snakemake --cores all` in the repository's root reads this file.
include: "workflow/Snakefile"


# Snakemake ignores the default target of an included file.
workflow.default_target = "all"
