"""Taking in files: in one request, or in chunks that survive a broken connection and a killed process.

Chunks are objects in the staging folder of their upload, under keys that nobody else uses; which of them count is
decided by rows. So any process of the API can go on where another one stopped, and of two writers of one chunk the
one whose row commits first has won. Nothing is visible in the catalog before everything was read, hashed and checked.
"""
