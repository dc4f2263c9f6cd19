"""What is made from documents besides tokens: conversations and questions."""
