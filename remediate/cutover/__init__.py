"""How the site passes from one unit to another, and how the app's unit is restarted.

Either is one program on the app host: from the moment in which the old one stops until the new one answers nothing waits
for the network, and whatever ends such a program early puts back what served before.
"""
