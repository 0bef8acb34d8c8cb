"""Tables and texts of any format, read into one table of documents.

Every format is read as a sequence of blocks of whole records. Block boundaries are found one after
another; the blocks are parsed on all cores, and their records are joined in order.
"""
