"""One model's life, in running order: data, train, export, evaluate, register."""
