"""Follows containers through the audit logs of many hosts.

``sources`` finds the files, ``lines`` reads them, ``index`` holds where each record is, once
though a collector has it, too (``copies``), ``model`` says which container each event belongs
to and why, ``questions`` asks. Reading is done in arrays; everything after it is Ibis expressions
over what ``engine`` holds, DuckDB or a Spark cluster. ``tail`` goes on as logs grow. Guests and
kernels are not known here.
"""
