"""Where the bytes of data sets are, and how they become arrays; shared by the plug-ins beside this folder."""
