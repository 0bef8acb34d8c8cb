# `snakemake --cores all` in the repository's root starts here.
include: "workflow/Snakefile"


# Snakemake forgets the default target of an included file.
workflow.default_target = "all"
