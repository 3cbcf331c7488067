"""What a browser shows of the service: a shell without data, which its script fills with fragments of HTML.

`shell` has what needs no token, `fragments` and `form` what does. Fragments are rendered from what the JSON routes, the
report and the command line tell; what a button does is a call of the JSON routes by the script.
"""
