"""`charlm verify`: check results against their record."""

import click

from charlm.cli.output import write


@click.command("verify", short_help="Check that results are as recorded.")
@click.argument("folder", metavar="FOLDER")
def command(folder: str) -> int:
    """Check that the results in FOLDER are as recorded.

    Hash the files again, and print one line for each that is missing, changed or added since
    `snakemake --cores all crate` recorded them. The record itself can be forged: compare its
    digest, which is printed, with the one that its author gives.
    """
    from charlm.pipeline.verification import Record

    record = Record(folder)
    different = False
    for line in record.differences():
        different = True
        write(f"{line}\n")
    if not different:
        write(f"all {len(record.hashes)} files are as recorded; the record is {record.digest}\n")
    return int(different)
