"""Learning by contrast: texts of one group are drawn together, others apart. What several recipes share."""
