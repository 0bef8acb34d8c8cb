"""The former name of `charlm.training.worker`, for commands that use it."""

from charlm.training.worker import main

if __name__ == "__main__":
    main()
