# One line for each job on the terminal, and the result at the end. `--verbose` shows Snakemake's messages.
from charlm.pipeline.terminal import attach

# A workflow that uses this one as a module decides for itself what its runs show.
if workflow.is_main_process and workflow.modifier.parent_modifier is None:
    attach(workflow)
