"""Where images to be measured come from: a flow, an autoencoder, shards, anyone's files."""
