"""Indexes on vector servers: PostgreSQL with pgvector, Qdrant, Milvus. A backend is a module, with its library."""
