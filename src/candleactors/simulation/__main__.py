"""See `candleactors.simulation.command`."""

from candleactors.simulation.command import main

if __name__ == "__main__":
    main()
