"""The corpus room: raw text to documents, tokenizer and token store."""
