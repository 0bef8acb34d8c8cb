# With profiles/slurm: report problems of the cluster before the first job, and jobs that Slurm killed
# after the last one.
import time

from charlm.pipeline.slurm import check_cluster, killed_jobs

STARTED = time.time()


def on_slurm():
    return workflow.executor_plugin.name == "slurm"


onstart:
    if not workflow.local_exec:
        mark_cluster_run(LOGS)
    if on_slurm():
        asked = {
            job.resources.get("slurm_partition")
            for job in workflow.dag.needrun_jobs()
        }
        try:
            check_cluster(sorted(asked - {None}))
        except CharlmError as error:
            raise WorkflowError(str(error)) from None


onerror:
    if on_slurm():
        for line in killed_jobs(".snakemake/slurm_logs", since=STARTED):
            logger.error(line)
