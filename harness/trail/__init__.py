"""Follows containers through the audit logs of many hosts.

``sources`` finds the files, ``lines`` reads them, ``index`` holds where each record is,
``model`` says which container each event belongs to and why, ``questions`` asks. Reading is
done in arrays; everything after it is Ibis expressions, so that another engine than DuckDB
can be asked the same. Guests and kernels are not known here.
"""
