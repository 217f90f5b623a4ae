"""The daily epoch: that nothing was left out, for a person, for a recipient, and for who checks them all."""
