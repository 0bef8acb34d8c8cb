# `snakemake --cores all` in the repository's root starts here.
include: "workflow/Snakefile"
