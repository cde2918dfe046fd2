"""Devices of a house, as an example of programs that use zmqmq and nothing below its public face: sensors produce, controllers consume."""
