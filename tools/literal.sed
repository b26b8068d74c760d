# A text, without its comment lines (--), as a C string literal.
/^ *--/d
s/[\\"]/\\&/g
s/.*/"&\\n"/
